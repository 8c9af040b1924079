package desktop

import (
	"regexp"
	"sync"
	"time"
)

const (
	// offerLife is a little longer than a connect code's.
	offerLife = 40 * time.Second
	maxOffers = 1000 // of all, and of one user: a further one takes the place of his oldest
	maxEach   = 16
	maxText   = 256 // bytes of what a person types
	maxSide   = 8192
)

// A Wish is what a person wants of guacd: what he typed, which is used once and
// forgotten, and what his browser shows.
type Wish struct {
	Username string `json:"username"`
	Password string `json:"password"`
	Domain   string `json:"domain,omitempty"`
	Width    int    `json:"width"`
	Height   int    `json:"height"`
	DPI      int    `json:"dpi,omitempty"`
	Timezone string `json:"timezone,omitempty"`
	Layout   string `json:"layout,omitempty"` // of the keyboard, as guacd names it
	Drive    *Drive `json:"drive,omitempty"`  // the device's files beside the desktop
}

// A Drive is an account at the device's SSH server.
type Drive struct {
	Username string `json:"username"`
	Password string `json:"password"`
}

// The names that browsers have for time zones, and guacd for keyboards. guacd's C library
// takes a time zone for the name of a file.
var (
	timezone = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$`)
	layout   = regexp.MustCompile(`^[a-z0-9-]+$`)
)

// Offer keeps a user's wish until the connect code comes back by a WebSocket, or is over.
func (s *Server) Offer(user, code string, w Wish) error {
	switch {
	case s.cfg.Guacd == nil:
		return errNoGuacd
	case !w.valid():
		return errMalformed
	case w.Drive != nil && !s.cfg.Guacd.Drive:
		return errNoDrive
	}
	if !timezone.MatchString(w.Timezone) {
		w.Timezone = "" // some browsers have none but an offset
	}
	return s.offers.put(user, code, w)
}

func (w *Wish) valid() bool {
	texts := []string{w.Username, w.Password, w.Domain, w.Timezone, w.Layout}
	if w.Drive != nil {
		texts = append(texts, w.Drive.Username, w.Drive.Password)
	}
	for _, t := range texts {
		if len(t) > maxText {
			return false
		}
	}
	if w.Layout != "" && !layout.MatchString(w.Layout) {
		return false
	}
	return w.Width > 0 && w.Width <= maxSide && w.Height > 0 && w.Height <= maxSide && w.DPI >= 0 && w.DPI <= 1000
}

// offers are wishes by their connect codes.
type offers struct {
	mu sync.Mutex
	of map[string]offer
}

type offer struct {
	Wish
	user string
	made time.Time
	late *time.Timer // forgets it
}

func (o *offers) put(user, code string, w Wish) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.makeRoom(user)
	if len(o.of) >= maxOffers {
		return errFull
	}
	o.of[code] = offer{w, user, time.Now(), time.AfterFunc(offerLife, func() { o.take(code) })}
	return nil
}

// makeRoom forgets a user's oldest where he has many; mu is held.
func (o *offers) makeRoom(user string) {
	n, oldest := 0, ""
	for code, of := range o.of {
		if of.user != user {
			continue
		}
		if n++; oldest == "" || of.made.Before(o.of[oldest].made) {
			oldest = code
		}
	}
	if n >= maxEach {
		o.of[oldest].late.Stop()
		delete(o.of, oldest)
	}
}

// take returns what was wished for with that code, once.
func (o *offers) take(code string) (Wish, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	w, ok := o.of[code]
	if ok {
		w.late.Stop()
		delete(o.of, code)
	}
	return w.Wish, ok
}
