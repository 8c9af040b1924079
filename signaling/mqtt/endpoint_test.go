package mqtt

import (
	"strings"
	"testing"
	"time"
)

func TestParseEndpoint(t *testing.T) {
	for _, tt := range []struct {
		url      string
		insecure bool
		address  string // "" refused
		tls, ws  bool
		path     string
	}{
		{url: "mqtts://broker.example", address: "broker.example:8883", tls: true},
		{url: "mqtts://broker.example:443", address: "broker.example:443", tls: true},
		{url: "wss://broker.example", address: "broker.example:443", tls: true, ws: true, path: "/mqtt"},
		{url: "wss://broker.example/x?y=z", address: "broker.example:443", tls: true, ws: true, path: "/x"},
		{url: "mqtt://127.0.0.1", address: "127.0.0.1:1883"},
		{url: "mqtt://[::1]:1884", address: "[::1]:1884"},
		{url: "ws://localhost:9001", address: "localhost:9001", ws: true, path: "/mqtt"},
		{url: "mqtt://broker.example"},
		{url: "ws://10.0.0.1"},
		{url: "mqtt://localhost.example"},
		{url: "mqtt://broker.example", insecure: true, address: "broker.example:1883"},
		{url: "tcp://127.0.0.1"},
		{url: "mqtts://"},
		{url: "mqtts://user:secret@broker.example"},
		{url: "mqtts://user:secret@broker.example:x"},
		{url: "broker.example:8883"},
	} {
		e, err := parseEndpoint(tt.url, tt.insecure)
		if err != nil {
			if tt.address != "" {
				t.Errorf("%s: %v", tt.url, err)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("%s: the error holds the password: %v", tt.url, err)
			}
			continue
		}
		if e.address != tt.address || e.tls != tt.tls || e.websocket != tt.ws || e.url.Path != tt.path {
			t.Errorf("%s: %s tls %v websocket %v path %s", tt.url, e.address, e.tls, e.websocket, e.url.Path)
		}
	}
}

func FuzzParseEndpoint(f *testing.F) {
	for _, s := range []string{"mqtts://broker.example", "wss://[::1]:443/x", "mqtt://user:secret@h", "ws://%41", "mqtts://h:99999", "://"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		e, err := parseEndpoint(text, false)
		if err != nil {
			return
		}
		if e.host == "" || e.url.User != nil || !e.tls && !loopback(e.host) {
			t.Errorf("%q is accepted: %+v", text, e)
		}
		e.request()
	})
}

func TestConfigRefuses(t *testing.T) {
	for name, cfg := range map[string]*Config{
		"keepalive of half a second": {KeepAlive: time.Second / 2},
		"keepalive of a day":         {KeepAlive: 24 * time.Hour},
		"long password":              {Password: strings.Repeat("x", 1<<16)},
	} {
		if _, err := newListener("k1", "mqtt://127.0.0.1", cfg); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	if _, err := NewSender("mqtt://127.0.0.1", &Config{Shared: "a/b"}); err == nil {
		t.Error("a group with a slash is accepted")
	}
	if _, err := newListener("a/b", "mqtt://127.0.0.1", nil); err == nil {
		t.Error("a device id with a slash is accepted")
	}
}
