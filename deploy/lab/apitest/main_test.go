package apitest

import (
	"log/slog"
	"os"
	"testing"

	"holdfast.dev/holdfast/controller"
)

func TestMain(m *testing.M) {
	controller.LogKubernetes(slog.New(slog.NewTextHandler(os.Stderr, nil)))
	os.Exit(m.Run())
}
