// Package cluster is a whole Kubernetes on one machine: etcd, API server,
// controller-manager, scheduler, real kubelets with containerd and kube-proxy,
// one network namespace a node, and two clients, of which one is behind a second
// bridge, all in one world (package world). If asked for, there are routers
// too (package router): FRR and BIRD, which peer with every node, and a client
// on the far side of them.
//
// It decides how a lab is built, found again, broken and mended. What is tried
// in it is left to others.
//
// A lab belongs to the directory in which somebody stands; its state is in
// .lab/run below it. Inside its world runs a supervisor (this binary again),
// which makes the network, starts every program, and obeys commands that come
// over a socket in the state directory. The state directory is /run/lab there,
// so that paths are short and the same everywhere.
//
// Invariants:
//
//  1. Labs of different directories know nothing of each other: every name
//     they use outside their own namespaces is unique.
//  2. When the world's pid 1 is gone, the lab is gone; a directory in which
//     that happened is as good as a fresh one.
//  3. A node that is powered off loses all but its disk: processes, pods,
//     network, packet filters, control groups.
//  4. Commands are idempotent where it makes sense; where it does not, the
//     error says what the state was.
package cluster
