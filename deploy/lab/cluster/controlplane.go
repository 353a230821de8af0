package cluster

import (
	"path/filepath"
)

// The programs of the control plane, with the flags that they need here.

func pkiFile(name string) string { return filepath.Join(stateInside, pkiDir, name) }

// etcdFlags trade safety of the disk for speed: a lab that dies is not revived.
func etcdFlags() []string {
	const clients, peers = "http://127.0.0.1:2379", "http://127.0.0.1:2380"
	return []string{
		"--data-dir=" + filepath.Join(stateInside, etcdDir), "--unsafe-no-fsync", "--log-level=warn",
		"--listen-client-urls=" + clients, "--advertise-client-urls=" + clients,
		"--listen-peer-urls=" + peers, "--initial-advertise-peer-urls=" + peers, "--initial-cluster=default=" + peers,
	}
}

// apiserverFlags let the API server call webhooks in pods without kube-proxy,
// which the control plane's station does not have.
func apiserverFlags() []string {
	return []string{
		"--etcd-servers=http://127.0.0.1:2379",
		"--bind-address=0.0.0.0", "--advertise-address=" + cpStation.v4().String(), "--secure-port=6443",
		"--service-cluster-ip-range=" + serviceNets,
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-signing-key-file=" + pkiFile("sa.key"), "--service-account-key-file=" + pkiFile("sa.pub"),
		"--client-ca-file=" + pkiFile("ca.crt"),
		"--tls-cert-file=" + pkiFile("apiserver.crt"), "--tls-private-key-file=" + pkiFile("apiserver.key"),
		"--kubelet-client-certificate=" + pkiFile("apiserver-kubelet.crt"),
		"--kubelet-client-key=" + pkiFile("apiserver-kubelet.key"),
		"--kubelet-preferred-address-types=InternalIP",
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--allow-privileged=true",
		"--enable-aggregator-routing=true",
		"--audit-policy-file=" + filepath.Join(stateInside, "audit-policy.yaml"),
		"--audit-log-path=" + filepath.Join(stateInside, auditFile), "--audit-log-mode=blocking",
	}
}

// controllerManagerFlags notice a dead node within 8 s. The default rate of
// requests would cost 5 s at the start.
func controllerManagerFlags() []string {
	return append(kubeconfigFlags("controller-manager"),
		"--bind-address=127.0.0.1", "--leader-elect=false",
		"--use-service-account-credentials=true", "--service-account-private-key-file="+pkiFile("sa.key"),
		"--root-ca-file="+pkiFile("ca.crt"),
		"--cluster-signing-cert-file="+pkiFile("ca.crt"), "--cluster-signing-key-file="+pkiFile("ca.key"),
		"--allocate-node-cidrs=false", "--kube-api-qps=500", "--kube-api-burst=1000",
		"--node-monitor-period=1s", "--node-monitor-grace-period=8s",
	)
}

func schedulerFlags() []string {
	return append(kubeconfigFlags("scheduler"), "--bind-address=127.0.0.1", "--leader-elect=false",
		"--kube-api-qps=500", "--kube-api-burst=1000")
}

// kubeconfigFlags name one file as client and for both delegations.
func kubeconfigFlags(name string) []string {
	f := pkiFile(name + ".kubeconfig")
	return []string{"--kubeconfig=" + f, "--authentication-kubeconfig=" + f, "--authorization-kubeconfig=" + f}
}
