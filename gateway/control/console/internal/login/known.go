package login

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/boothwire/boothwire/gateway/control"
)

// Known is what a provider has said of a user.
type Known struct {
	Name    string
	Subject string // who he is there for good; empty: no provider knows him
	Groups  []string
	Refresh string // by which it can be asked again; empty: it cannot
}

const (
	maxGroups  = 1000
	maxRefresh = 16 << 10
)

// errSilent says that a provider told nothing of a user's groups.
var errSilent = errors.New("the provider tells no groups when it is asked again")

// Mark is by what users of this provider are known again.
func (p *Provider) Mark() string { return "oidc " + p.cfg.ClientID + " " + p.cfg.Issuer }

// Finish tells who came back from the provider with these answers, having begun as d.
func (p *Provider) Finish(ctx context.Context, d Pending, answers url.Values) (u control.User, who Known, err error) {
	if d.State == "" || subtle.ConstantTimeCompare([]byte(d.State), []byte(answers.Get("state"))) != 1 || time.Now().After(d.Until) {
		return u, who, ErrUnsolicited
	}
	if code := answers.Get("error"); code != "" {
		return u, who, &Refusal{code[:min(len(code), maxName)]}
	}
	found, err := p.discover(ctx)
	if err != nil {
		return u, who, err
	}
	token, err := p.flow(found).Exchange(p.context(ctx), answers.Get("code"), oauth2.VerifierOption(d.Verifier))
	if err != nil {
		return u, who, fmt.Errorf("console: exchange the code: %w", hideSecrets(err))
	}
	raw, _ := token.Extra("id_token").(string)
	id, claims, err := p.verified(ctx, found, raw)
	if err != nil {
		return u, who, err
	}
	if subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(d.Nonce)) != 1 {
		return u, who, ErrUnsolicited
	}
	name, _ := claims[p.cfg.Name].(string)
	who = Known{Name: strings.TrimSpace(name), Subject: id.Subject}
	who.Groups, _ = p.groups(claims)
	if len(token.RefreshToken) <= maxRefresh {
		who.Refresh = token.RefreshToken
	}
	u, err = p.User(who)
	return u, who, err
}

// verified are the claims of an ID token of the provider's.
func (p *Provider) verified(ctx context.Context, found *oidc.Provider, raw string) (*oidc.IDToken, map[string]any, error) {
	id, err := found.Verifier(&oidc.Config{ClientID: p.cfg.ClientID}).Verify(p.context(ctx), raw)
	if err != nil {
		return nil, nil, fmt.Errorf("console: the provider's token: %w", err)
	}
	claims := make(map[string]any)
	if err := id.Claims(&claims); err != nil {
		return nil, nil, fmt.Errorf("console: the provider's claims: %w", err)
	}
	if id.Subject == "" {
		return nil, nil, ErrNoName
	}
	return id, claims, nil
}

// Again asks the provider about a user by his refresh token (OpenID Connect Core 1.0,
// sections 12 and 5.3): what an ID token says counts, and without groups there, what the
// user information says. The answer has the refresh token that is good from now on,
// with an error too. ErrGone: he gets no more tokens; errSilent: it told no groups.
func (p *Provider) Again(ctx context.Context, who Known) (Known, error) {
	found, err := p.discover(ctx)
	if err != nil {
		return who, err
	}
	source := p.flow(found).TokenSource(p.context(ctx), &oauth2.Token{RefreshToken: who.Refresh})
	token, err := source.Token()
	if e, ok := errors.AsType[*oauth2.RetrieveError](err); ok && e.ErrorCode == "invalid_grant" {
		return who, ErrGone
	}
	if err != nil {
		return who, fmt.Errorf("console: refresh: %w", hideSecrets(err))
	}
	if token.RefreshToken != "" && len(token.RefreshToken) <= maxRefresh {
		who.Refresh = token.RefreshToken
	}
	claims := make(map[string]any)
	if raw, _ := token.Extra("id_token").(string); raw != "" {
		id, said, err := p.verified(ctx, found, raw)
		if err != nil {
			return who, err
		}
		if id.Subject != who.Subject {
			return who, fmt.Errorf("%w: the token is another's", ErrGone)
		}
		claims = said
	}
	groups, told := p.groups(claims)
	if !told && found.UserInfoEndpoint() != "" {
		if claims, err = p.information(ctx, found, token, who.Subject); err != nil {
			return who, err
		}
		groups, told = p.groups(claims)
	}
	if name, ok := claims[p.cfg.Name].(string); ok {
		who.Name = strings.TrimSpace(name)
	}
	if !told {
		return who, errSilent
	}
	who.Groups = groups
	return who, nil
}

// information is what the provider says of a user whose access token it gave.
func (p *Provider) information(ctx context.Context, found *oidc.Provider, token *oauth2.Token, subject string) (map[string]any, error) {
	info, err := found.UserInfo(p.context(ctx), oauth2.StaticTokenSource(token))
	if err != nil {
		return nil, errors.New("console: the user information was not given") // which the error quotes
	}
	if info.Subject != subject {
		return nil, fmt.Errorf("%w: the user information is another's", ErrGone)
	}
	claims := make(map[string]any)
	return claims, info.Claims(&claims)
}

// groups are those that claims tell of; false: they do not speak of any.
func (p *Provider) groups(claims map[string]any) (groups []string, told bool) {
	switch list := claims[p.cfg.Groups].(type) {
	case nil:
		return nil, false
	case string:
		groups = append(groups, list)
	case []any:
		for _, g := range list {
			if g, ok := g.(string); ok && len(groups) < maxGroups {
				groups = append(groups, g)
			}
		}
	}
	return groups, true
}

// User is who somebody is here of whom the provider has said so much: what the rules
// give him at present.
func (p *Provider) User(who Known) (control.User, error) {
	name := who.Name
	if name == "" || len(name) > maxName || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return control.User{}, ErrNoName
	}
	if slices.ContainsFunc(p.taken, func(t string) bool { return strings.EqualFold(t, name) }) {
		return control.User{}, ErrTaken
	}
	u, ok := granted(p.cfg.Rules, who.Groups)
	if !ok {
		return control.User{}, ErrNoRole
	}
	u.Name = name
	return u, nil
}

// Recall is who somebody of this provider is whom a Keeper has.
func (p *Provider) Recall(l control.Login) (control.User, bool) {
	if l.Source != p.Mark() || l.Subject == "" {
		return control.User{}, false
	}
	u, err := p.User(Known{Name: l.Name, Groups: l.Groups})
	return u, err == nil
}
