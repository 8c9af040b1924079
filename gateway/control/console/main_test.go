package console

import (
	"testing"

	"github.com/boothwire/boothwire/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }
