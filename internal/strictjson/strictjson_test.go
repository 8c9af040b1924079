package strictjson

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

type inner struct {
	Key  string `json:"key"`
	Deep *inner `json:"deep"`
}

type embedded struct {
	Kind string `json:"kind"`
}

type target struct {
	embedded
	Action string              `json:"action"`
	N      int                 `json:"n,omitempty"`
	List   []inner             `json:"list"`
	Table  map[string]inner    `json:"table"`
	Addr   netip.Addr          `json:"addr"`
	Raw    json.RawMessage     `json:"raw"`
	Any    any                 `json:"any"`
	Plain  string              // the name is Plain
	Skip   string              `json:"-"`
	Pairs  [2]map[string]inner `json:"pairs"`
}

var cases = []struct{ text, reason string }{
	{`{}`, ""},
	{` {"action":"vpn_up","n":3} `, ""},
	{`{"kind":"x","unknown":{"Action":1,"action":2}}`, ""},
	{`{"action":null,"list":null}`, ""},
	{`{"table":{"a":{"key":"1"},"A":{"key":"2"}}}`, ""},
	{`{"raw":{"Key":1},"any":{"Key":[{}]}}`, ""},
	{`{"skip":"x","Skip":"y","-":"z"}`, ""},
	{`{"a":[[[[[[[]]]]]]]}`, ""},
	{`{"a":[[[[[[[[]]]]]]]]}`, TooDeep},
	{`{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{}}}}}}}}}`, TooDeep},
	{``, Malformed},
	{`null`, Malformed},
	{`[]`, Malformed},
	{`"x"`, Malformed},
	{`7`, Malformed},
	{`{`, Truncated},
	{`{}}`, Malformed},
	{`{}{}`, Malformed},
	{`{} x`, Malformed},
	{`{"a":}`, Malformed},
	{`{"a" "b"}`, Malformed},
	{`{"a":1,}`, Malformed},
	{`{a:1}`, Malformed},
	{`{'a':1}`, Malformed},
	{`{"a":NaN}`, Malformed},
	{`{"a":01}`, Malformed},
	{"{\"a\":\"\xff\"}", Malformed},
	{"{\"a\":\"\x01\"}", Malformed},
	{"\ufeff{}", Malformed},
	{`{"action":"vpn_down","Action":"vpn_up"}`, Malformed},
	{`{"ACTION":"vpn_up"}`, Malformed},
	{`{"Kind":"x"}`, Malformed},
	{`{"\u006b\u0069nd":"x"}`, ""},
	{`{"K` + `ind":"x"}`, Malformed},
	{`{"\u212aind":"x"}`, Malformed}, // the Kelvin sign folds to k
	{`{"li\u017ft":[]}`, Malformed},  // and the long s to s
	{`{"plain":"x"}`, Malformed},
	{`{"Plain":"x"}`, ""},
	{`{"list":[{"Key":"x"}]}`, Malformed},
	{`{"list":[{"deep":{"deep":{"KEY":"x"}}}]}`, Malformed},
	{`{"table":{"x":{"Key":"x"}}}`, Malformed},
	{`{"pairs":[{"x":{"Key":"x"}}]}`, Malformed},
	{`{"action":"a","action":"b"}`, Duplicate},
	{`{"action":"a","\u0061ction":"b"}`, Duplicate},
	{`{"x":{"y":1,"y":1}}`, Duplicate},
	{`{"list":[{"key":"a"},{"key":"b"}]}`, ""},
	{`{"list":[{"key":"a","key":"b"}]}`, Duplicate},
	{`{"":1,"":2}`, Duplicate},
	{`{"action":1}`, Malformed},
	{`{"n":1.5}`, Malformed},
	{`{"n":99999999999999999999}`, Malformed},
	{`{"addr":"10.0.0"}`, Malformed},
}

func TestUnmarshal(t *testing.T) {
	for _, tt := range cases {
		var v target
		err := Unmarshal([]byte(tt.text), &v)
		var e *Error
		switch errors.As(err, &e); {
		case err == nil && tt.reason == "":
		case e == nil || e.Code() != tt.reason:
			t.Errorf("%s: got %v, want %q", tt.text, err, tt.reason)
		}
	}
}

func TestCheck(t *testing.T) {
	for text, ok := range map[string]bool{`{"Action":1,"action":2}`: true, `{"a":1,"a":2}`: false, `[]`: false, "{\"\xff\":1}": false} {
		if err := Check([]byte(text)); (err == nil) != ok {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestManyNames(t *testing.T) {
	for _, n := range []int{fewNames - 1, fewNames, fewNames + 1, 100} {
		text := `{"unknown":{`
		for i := range n {
			text += fmt.Sprintf(`"n%d":1,`, i)
		}
		if err := Unmarshal([]byte(text+`"x":1}}`), new(target)); err != nil {
			t.Errorf("%d names: %v", n, err)
		}
		var e *Error
		if err := Unmarshal([]byte(text+`"n0":1}}`), new(target)); !errors.As(err, &e) || e.Reason != Duplicate {
			t.Errorf("%d names and the first again: %v", n, err)
		}
	}
}

// TestErrorsQuoteNothing: what is refused may hold secrets.
func TestErrorsQuoteNothing(t *testing.T) {
	for _, text := range []string{`{"hunter2":1,"hunter2":1}`, `{"addr":"hunter2"}`, `{"n":"hunter2"}`, `{"n":hunter2}`, `{"action":["hunter2"]}`} {
		if err := Unmarshal([]byte(text), new(target)); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func BenchmarkUnmarshal(b *testing.B) {
	text := []byte(`{"action":"vpn_up","list":[{"key":"x"},{"key":"y"}],"unknown":{"a":[1,2,3]}}`)
	b.ReportAllocs()
	for b.Loop() {
		if err := Unmarshal(text, new(target)); err != nil {
			b.Fatal(err)
		}
	}
}

// exact is what a reader sees that does not fold case: each object's names and
// values, in order.
func exact(dec *json.Decoder) (any, error) {
	tok, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch tok {
	case json.Delim('{'):
		m := map[string]any{}
		for dec.More() {
			name, err := dec.Token()
			if err != nil {
				return nil, err
			}
			v, err := exact(dec)
			if err != nil {
				return nil, err
			}
			if _, twice := m[name.(string)]; twice {
				return nil, errors.New("twice")
			}
			m[name.(string)] = v
		}
		_, err := dec.Token()
		return m, err
	case json.Delim('['):
		l := []any{}
		for dec.More() {
			v, err := exact(dec)
			if err != nil {
				return nil, err
			}
			l = append(l, v)
		}
		_, err := dec.Token()
		return l, err
	}
	return tok, nil
}

// FuzzUnmarshal: what is accepted holds in each field exactly what stands
// under its exact name, once, and is what encoding/json makes of it too.
func FuzzUnmarshal(f *testing.F) {
	for _, tt := range cases {
		f.Add([]byte(tt.text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var strict, loose target
		if Unmarshal(data, &strict) != nil {
			return
		}
		if Check(data) != nil {
			t.Fatal("Check refuses what Unmarshal takes")
		}
		if err := json.Unmarshal(data, &loose); err != nil || !reflect.DeepEqual(strict, loose) {
			t.Fatalf("encoding/json: %v\n%+v\n%+v", err, strict, loose)
		}
		v, err := exact(json.NewDecoder(strings.NewReader(string(data))))
		if err != nil {
			t.Fatalf("an exact reader fails: %v", err)
		}
		m, ok := v.(map[string]any)
		if !ok {
			t.Fatal("no object")
		}
		for name, got := range map[string]string{"action": strict.Action, "kind": strict.Kind, "Plain": strict.Plain} {
			if want, _ := m[name].(string); want != got {
				t.Fatalf("%s: %q for an exact reader, %q here", name, want, got)
			}
		}
		if l, ok := m["list"].([]any); ok {
			for i, e := range l {
				if o, ok := e.(map[string]any); ok {
					if want, _ := o["key"].(string); want != strict.List[i].Key {
						t.Fatalf("list[%d].key: %q for an exact reader, %q here", i, want, strict.List[i].Key)
					}
				}
			}
		}
	})
}
