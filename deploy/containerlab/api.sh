#!/bin/sh
# api ADDRESS: the API of a cluster without anything else. What is in /manifests
# is applied in the order of names, and /run/ready says that it has been.
set -e
etcd --data-dir=/run/etcd --unsafe-no-fsync --log-level=error >/run/etcd.log 2>&1 &
kube-apiserver --etcd-servers=http://127.0.0.1:2379 --secure-port=6443 --advertise-address="$1" --endpoint-reconciler-type=none \
	--client-ca-file=/keys/ca.crt --tls-cert-file=/keys/apiserver.crt --tls-private-key-file=/keys/apiserver.key \
	--token-auth-file=/keys/tokens.csv --authorization-mode=RBAC \
	--service-cluster-ip-range=10.96.0.0/16,fd00:96::/112 \
	--service-account-issuer=https://kubernetes.default.svc \
	--service-account-signing-key-file=/keys/serviceaccounts.key --service-account-key-file=/keys/serviceaccounts.pub \
	>/run/kube-apiserver.log 2>&1 &
until kubectl get --raw /readyz >/run/readyz.log 2>&1; do
	sleep 0.1
done
kubectl apply -k /manifests/1-crds
kubectl wait --for=condition=Established crd --all
for file in /manifests/*.yaml; do
	kubectl apply -f "$file"
done
touch /run/ready
exec sleep infinity
