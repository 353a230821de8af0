package main

import (
	"context"
	"fmt"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/tools/clientcmd"

	"holdfast.dev/holdfast/allocator"
	"holdfast.dev/holdfast/controller"
)

func flipCommand() *cobra.Command {
	var f controller.Flip
	var kubeconfig, inContext string
	var limit time.Duration
	c := &cobra.Command{
		Use:   "flip SERVICE Cluster|Local",
		Short: "change the externalTrafficPolicy of a Service so that nothing is lost",
		Long: `Change the externalTrafficPolicy of a Service so that nothing is lost.

To Local, the nodes without an endpoint withdraw the addresses first (annotation
` + allocator.AnnotationAnnounceAs + `), then the policy is changed. Changed at
once, they would drop what routers still send them. To Cluster, the policy is
changed; nodes that are new announce once they serve.

It uses your kubeconfig as kubectl does. You must be allowed to patch the Service
and to list EndpointSlices, ServiceBGPStatus and ServiceL2Status objects, and nodes,
to tell which of them are down. When it is interrupted before the policy is changed,
all is as before.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usage(fmt.Errorf("holdfast flip takes the name of a Service and a policy, Cluster or Local: it was given %d words", len(args)))
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			rules := clientcmd.NewDefaultClientConfigLoadingRules()
			rules.ExplicitPath = kubeconfig
			config := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: inContext})
			var err error
			if f.REST, err = config.ClientConfig(); err != nil {
				return usage(fmt.Errorf("finding the API server: %w", err))
			}
			f.REST.UserAgent = "holdfast/" + version
			f.Service.Name, f.Policy = args[0], args[1]
			if f.Service.Namespace == "" {
				if f.Service.Namespace, _, err = config.Namespace(); err != nil {
					return usage(fmt.Errorf("finding the namespace: %w", err))
				}
			}
			f.Say = func(format string, args ...any) { fmt.Fprintf(c.OutOrStdout(), format+"\n", args...) }
			ctx, stop := signal.NotifyContext(c.Context(), syscall.SIGTERM, syscall.SIGINT)
			defer stop()
			ctx, cancel := context.WithTimeout(ctx, limit)
			defer cancel()
			return f.Run(ctx)
		},
	}
	c.Flags().SortFlags = false
	c.Flags().StringVarP(&f.Service.Namespace, "namespace", "n", "", "namespace of the Service; without the flag, the kubeconfig's")
	c.Flags().StringVar(&f.Namespace, "holdfast-namespace", "holdfast-system", "namespace of holdfast itself")
	c.Flags().DurationVar(&f.Routers, "routers", time.Second, "how long routers have to act on the last node's withdrawal before the policy is changed")
	c.Flags().DurationVar(&limit, "timeout", time.Minute, "after which time to give up and leave all as it was")
	c.Flags().StringVar(&kubeconfig, "kubeconfig", "", "path of the kubeconfig; without the flag, as kubectl finds it")
	c.Flags().StringVar(&inContext, "context", "", "context of the kubeconfig; without the flag, its current one")
	return c
}
