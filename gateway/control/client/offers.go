package client

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
)

// MaxOffer is the longest sealed offer in bytes.
const MaxOffer = 2800

// SendOffer passes on what is sealed for the device of an end-to-end session that
// the caller opened: 1 to MaxOffer bytes. That it arrives is not certain.
func (c *Client) SendOffer(ctx context.Context, id string, sealed []byte) error {
	in := OfferRequest{Sealed: base64.RawURLEncoding.EncodeToString(sealed)}
	return c.call(ctx, http.MethodPost, "/sessions/"+url.PathEscape(id)+"/offers", nil, &in, nil)
}

// Offers yields what the device of an end-to-end session that the caller opened has
// sealed for him: the latest few, then each that comes. When the connection breaks it
// goes on where it was. It ends with an error, the last item: an *Error with the code
// "closed" when the session is over, another refusal of control, or ctx's.
func (c *Client) Offers(ctx context.Context, id string) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		never := func(*Offer) bool { return false }
		for o, err := range watch(ctx, c, "/sessions/"+url.PathEscape(id)+"/offers", never) {
			if err != nil {
				yield(nil, err)
				return
			}
			sealed, err := base64.RawURLEncoding.DecodeString(o.Sealed)
			if err != nil {
				yield(nil, fmt.Errorf("control: read an offer: %w", err))
				return
			}
			if !yield(sealed, nil) {
				return
			}
		}
	}
}

// Revocations calls revoke for every session that is over: those that ended within the
// time that a session lasts at most (control's longest, 8 h unless set), then each as
// it ends, and again those whenever the connection had to be made anew. It needs the
// role relay or admin. It returns the first error of revoke, a refusal of control, or
// ctx's error.
func (c *Client) Revocations(ctx context.Context, revoke func(session string) error) error {
	for r, err := range watch(ctx, c, "/revocations", func(*Revocation) bool { return false }) {
		if err == nil {
			err = revoke(r.Session)
		}
		if err != nil {
			return err
		}
	}
	return errors.New("control: the revocations ended")
}
