package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"
)

// version is set when the binary is linked: a tag, or a commit.
var version = "unknown"

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "print the version, and what it was built with",
		Run: func(c *cobra.Command, _ []string) {
			fmt.Fprintf(c.OutOrStdout(), "holdfast %s, %s, %s/%s\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
		},
	}
}
