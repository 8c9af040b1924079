package login

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"
	"golang.org/x/oauth2"
)

const (
	// revokeFor bounds how long a token may take to be revoked, its turn included.
	revokeFor = 10 * time.Second
	maxAnswer = 4 << 10 // bytes of an answer
	// maxSpare bounds the tokens of one user that wait for him to be out.
	maxSpare = 5 * maxEach
)

// Stats are figures of Logins; all but Logins only grow.
type Stats struct {
	Logins int // that there are
	// Revoked are the refresh tokens that the provider has revoked, Unrevoked those that
	// it did not, or was not asked to before this process stopped or moved its lead.
	Revoked, Unrevoked uint64
}

// Stats is a snapshot.
func (s *Logins) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	stats := s.stats
	stats.Logins = len(s.all)
	return stats
}

// Decline says that somebody of the provider has no use for the refresh token that it
// gave.
func (s *Logins) Decline(who Known) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.giveUp(who.Subject, who.Refresh)
}

// giveUp has a refresh token revoked that nobody needs any more, as soon as its user is
// not signed in at all: some providers take all that he has at this client away with one,
// and his other browsers would be out. mu is held.
func (s *Logins) giveUp(subject, token string) {
	list := s.spare[subject]
	switch {
	case s.cfg.Provider == nil, s.closed:
		return
	case token == "" && len(list) == 0:
		return
	case token != "" && len(list) >= maxSpare:
		list = list[1:]
		s.stats.Unrevoked++
	}
	if token != "" { // a login without one may be the last, for which others wait
		s.spare[subject] = append(list, token)
	}
	s.revoking.Go(func() { // after what mu is held for: he may be about to come in again
		s.mu.Lock()
		defer s.mu.Unlock()
		s.revokeSpare(subject)
	})
}

// revokeSpare revokes what somebody has given up, unless he is signed in; mu is held.
func (s *Logins) revokeSpare(subject string) {
	if s.in[subject] > 0 {
		return
	}
	for _, token := range s.spare[subject] {
		s.revoking.Go(func() { s.revoke(subject, token) })
	}
	delete(s.spare, subject)
}

// forgetSpare is revokeSpare for all, when others decide about those who are signed in;
// mu is held.
func (s *Logins) forgetSpare() {
	for subject := range s.spare {
		s.revokeSpare(subject)
		s.stats.Unrevoked += uint64(len(s.spare[subject]))
	}
	clear(s.spare)
}

func (s *Logins) revoke(subject, token string) {
	ctx, cancel := context.WithTimeout(context.Background(), revokeFor)
	defer cancel()
	err := s.revokeInTurn(ctx, token)
	if errors.Is(err, errors.ErrUnsupported) {
		return
	}
	if err != nil {
		s.cfg.Logger.Warn("a refresh token was not revoked", zap.String("subject", subject), zap.Error(err))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.stats.Revoked++
	} else {
		s.stats.Unrevoked++
	}
}

func (s *Logins) revokeInTurn(ctx context.Context, token string) error {
	select {
	case s.asking <- struct{}{}:
		defer func() { <-s.asking }()
		return s.cfg.Provider.Revoke(ctx, token)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Revoke has the provider revoke a refresh token (RFC 7009), signed in to it as for
// tokens. errors.ErrUnsupported: it states no address for that.
func (p *Provider) Revoke(ctx context.Context, token string) error {
	found, err := p.discover(ctx)
	if err != nil {
		return err
	}
	var says struct {
		At string `json:"revocation_endpoint"`
	}
	if err := found.Claims(&says); err != nil || says.At == "" {
		return errors.ErrUnsupported
	}
	at, err := url.Parse(says.At)
	if err != nil || at.Host == "" || at.Scheme != "https" && !loopback(at) {
		return fmt.Errorf("console: the provider would have tokens revoked at %q, which is no HTTPS", says.At)
	}
	flow, form := p.flow(found), url.Values{"token": {token}, "token_type_hint": {"refresh_token"}}
	basic := flow.Endpoint.AuthStyle != oauth2.AuthStyleInParams
	if !basic {
		form.Set("client_id", flow.ClientID)
		if flow.ClientSecret != "" {
			form.Set("client_secret", flow.ClientSecret)
		}
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, at.String(), strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if basic {
		r.SetBasicAuth(url.QueryEscape(flow.ClientID), url.QueryEscape(flow.ClientSecret))
	}
	return p.posted(r)
}

// posted sends a request to the provider, and to no other place where that points: it
// has secrets.
func (p *Provider) posted(r *http.Request) error {
	direct := *p.cfg.HTTP
	direct.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	res, err := direct.Do(r)
	if err != nil {
		return fmt.Errorf("console: the OpenID provider: %w", err)
	}
	defer res.Body.Close()
	var says struct {
		Error string `json:"error"`
	}
	_ = json.NewDecoder(io.LimitReader(res.Body, maxAnswer)).Decode(&says)
	switch {
	case res.StatusCode/100 == 2:
		return nil
	case slices.Contains(revokeErrors, says.Error):
		return fmt.Errorf("console: the OpenID provider answered %d %s", res.StatusCode, says.Error)
	default:
		return fmt.Errorf("console: the OpenID provider answered %d", res.StatusCode)
	}
}

// revokeErrors are the words of RFC 6749, section 5.2, and RFC 7009, section 2.2.1, that
// apply: no other is logged, for it might quote what it was sent.
var revokeErrors = []string{"invalid_request", "invalid_client", "unauthorized_client", "unsupported_token_type"}
