package main

import (
	"testing"

	"holdfast.dev/holdfast/deploy/world"
)

func TestMain(m *testing.M) { world.Main(m.Run) }
