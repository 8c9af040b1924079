package health

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestRegister(t *testing.T) {
	var now Report
	mux := http.NewServeMux()
	Register(mux, func(context.Context) Report { return now })
	limited := Report{}
	limited.Limit("mqtt", "it is not connected")
	broken := limited
	broken.Refuse("store", "it does not answer")
	for _, tt := range []struct {
		path   string
		now    Report
		status int
		want   string
	}{
		{"/healthz", broken, 200, "ok\n"},
		{"/readyz", Report{}, 200, "{\"ready\":true}\n"},
		{"/readyz", limited, 200, `{"ready":true,"limits":[{"part":"mqtt","why":"it is not connected"}]}` + "\n"},
		{"/readyz", broken, 503, `{"ready":false,"reasons":[{"part":"store","why":"it does not answer"}],"limits":[{"part":"mqtt","why":"it is not connected"}]}` + "\n"},
	} {
		now = tt.now
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest("GET", tt.path, nil))
		if w.Code != tt.status || w.Body.String() != tt.want {
			t.Errorf("%s of %+v: %d %s", tt.path, tt.now, w.Code, w.Body)
		}
	}
}
