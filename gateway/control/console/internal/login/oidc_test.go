package login

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/boothwire/boothwire/gateway/control"
)

// Behind somebody whom a provider lets wait nobody waits longer than he likes.
func TestSilentProvider(t *testing.T) {
	asked, over := make(chan struct{}), make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(asked)
		<-over
	}))
	defer silent.Close()
	p, err := NewProvider(&OIDC{Issuer: silent.URL, ClientID: "c", Redirect: "http://localhost" + CallbackPath, Rules: []Rule{{Group: "g", Role: control.Viewer}}})
	if err != nil {
		t.Fatal(err)
	}
	first := make(chan error, 1)
	go func() {
		_, _, err := p.Start(context.Background(), "/console/")
		first <- err
	}()
	<-asked
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := p.Start(gone, "/console/"); !errors.Is(err, context.Canceled) {
		t.Errorf("one who has gone: %v", err)
	}
	select {
	case err := <-first:
		close(over)
		t.Fatalf("the first is through: %v", err)
	default:
	}
	close(over)
	<-first
}
