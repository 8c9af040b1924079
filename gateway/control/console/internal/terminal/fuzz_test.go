package terminal

import "testing"

func FuzzHello(f *testing.F) {
	f.Add([]byte(hi))
	f.Add([]byte(`{"code":"c","files":true}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		h, err := parseHello(text)
		if err == nil && (h.Code == "" || !h.Files && !h.valid()) {
			t.Fatalf("%+v", h)
		}
	})
}

func FuzzOrder(f *testing.F) {
	f.Add([]byte(`{"ack":1}`))
	f.Add([]byte(`{"resize":{"cols":80,"rows":24}}`))
	f.Add([]byte(`{"signin":{"user":"u","password":"p","key":"k","passphrase":"p"}}`))
	f.Add([]byte(`{"answers":["a",null]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		o, err := parseOrder(text)
		if err != nil {
			return
		}
		set := 0
		for _, is := range []bool{o.SignIn != nil, o.Answers != nil, o.Resize != nil, o.Ack != 0} {
			if is {
				set++
			}
		}
		if set != 1 || o.Ack < 0 || o.Ack > Window || o.Resize != nil && !o.Resize.valid() {
			t.Fatalf("%+v", o)
		}
	})
}
