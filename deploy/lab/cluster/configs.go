package cluster

import "encoding/base64"

func b64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// kubeconfig takes the API server's address, the authority, and the client's
// certificate and key.
const kubeconfig = `apiVersion: v1
kind: Config
clusters: [{name: lab, cluster: {server: "https://%s", certificate-authority-data: %s}}]
users: [{name: me, user: {client-certificate-data: %s, client-key-data: %s}}]
contexts: [{name: lab, context: {cluster: lab, user: me}}]
current-context: lab
`

// auditPolicy records what holdfast asks of the API server, and nothing else.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  userGroups: ["system:serviceaccounts:holdfast-system"]
- level: None
`

// kubeletConfig takes the group below which pods are put. No image is ever
// pulled or collected; leases are short, so that a dead node is noticed in
// seconds.
const kubeletConfig = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: /run/lab/pki/ca.crt}}
authorization: {mode: Webhook}
cgroupDriver: cgroupfs
cgroupRoot: %s
failCgroupV1: false
failSwapOn: false
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
resolvConf: /run/resolv.conf
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
evictionHard: {memory.available: "50Mi", nodefs.available: "0%%", imagefs.available: "0%%", nodefs.inodesFree: "0%%"}
localStorageCapacityIsolation: false
enforceNodeAllocatable: []
nodeStatusUpdateFrequency: 2s
nodeLeaseDurationSeconds: 8
serializeImagePulls: false
registryPullQPS: 0
eventRecordQPS: 0
kubeAPIQPS: 100
kubeAPIBurst: 200
`

// networkConfig takes a node's two pod networks.
const networkConfig = `{"cniVersion": "0.4.0", "name": "lab", "plugins": [{"type": "ptp", "ipMasq": false, "mtu": 1500,
 "ipam": {"type": "host-local", "dataDir": "/var/lib/cni/networks",
  "ranges": [[{"subnet": "%s"}], [{"subnet": "%s"}]], "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]}}]}
`

// The runtime's configuration takes the directory of network plugins. Scores
// for the OOM killer need CAP_SYS_RESOURCE, which sandboxes often lack. The
// plugin "opt" would make a directory in /opt.
const (
	containerdConfig1 = `version = 2
disabled_plugins = ["io.containerd.internal.v1.opt"]
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "lab.local/pause:v1"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "%s"
    conf_dir = "/run/cni"
`
	containerdConfig2 = `version = 3
disabled_plugins = ["io.containerd.internal.v1.opt"]
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = 'lab.local/pause:v1'
[plugins.'io.containerd.cri.v1.runtime']
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dir = '%s'
    conf_dir = '/run/cni'
    use_internal_loopback = true
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
    SystemdCgroup = false
`
)
