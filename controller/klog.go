package controller

import (
	"context"
	"log/slog"

	"k8s.io/klog/v2"
)

// LogKubernetes sends what client-go logs to the given log, as Debug: what is to
// be known of it, this package says itself. It concerns the whole process, and is
// to be called once, before anything of it runs.
func LogKubernetes(log *slog.Logger) {
	klog.SetSlogLogger(slog.New(debugging{log.Handler()}).With("component", "client-go"))
}

// debugging is a handler that takes every record for Debug.
type debugging struct{ slog.Handler }

func (d debugging) Enabled(ctx context.Context, _ slog.Level) bool {
	return d.Handler.Enabled(ctx, slog.LevelDebug)
}

// Handle is asked without Enabled for what klog takes for an error.
func (d debugging) Handle(ctx context.Context, r slog.Record) error {
	if r.Level = slog.LevelDebug; !d.Handler.Enabled(ctx, r.Level) {
		return nil
	}
	return d.Handler.Handle(ctx, r)
}

func (d debugging) WithAttrs(a []slog.Attr) slog.Handler { return debugging{d.Handler.WithAttrs(a)} }
func (d debugging) WithGroup(g string) slog.Handler      { return debugging{d.Handler.WithGroup(g)} }
