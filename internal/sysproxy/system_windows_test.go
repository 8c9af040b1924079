package sysproxy

import (
	"net/http/httptest"
	"testing"
)

// TestSystem shows what Windows says; what is right only its settings tell.
func TestSystem(t *testing.T) {
	for _, url := range []string{"https://relay.example/relay", "http://relay.example/"} {
		proxy, err := For(httptest.NewRequest("GET", url, nil))
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %v", url, proxy)
	}
}
