package api

import (
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"slices"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/gateway/control/internal/auth"
)

func problemType() reflect.Type { return reflect.TypeFor[client.Error]() }

type empty struct{}

// ByID names a device, session or token.
type ByID struct {
	ID string `path:"id" minLength:"1" maxLength:"64"`
}

// ByName names a node.
type ByName struct {
	Name string `path:"name" minLength:"1" maxLength:"64"`
}

func (s *service) devices() {
	const tag = "devices"
	huma.Register(s.api, operation(http.MethodGet, "/devices", "list-devices", "List devices by id", tag),
		func(ctx context.Context, in *Query) (*body[List[client.Device]], error) {
			return page(s.b.Devices(ctx, userOf(ctx), *in))
		})
	huma.Register(s.api, operation(http.MethodGet, "/devices/{id}", "get-device", "Show a device", tag),
		func(ctx context.Context, in *ByID) (*body[client.Device], error) {
			return answer(s.b.Device(ctx, userOf(ctx), in.ID))
		})
	s.watchDevices(tag)
	huma.Register(s.api, operation(http.MethodPut, "/devices/{id}", "put-device", "Register a device by its identity key, or change it", tag),
		func(ctx context.Context, in *struct {
			ByID
			Body client.DeviceRequest
		}) (*body[client.Device], error) {
			return answer(s.b.PutDevice(ctx, userOf(ctx), in.ID, in.Body))
		})
	huma.Register(s.api, operation(http.MethodDelete, "/devices/{id}", "delete-device", "Remove a device and close its session", tag),
		func(ctx context.Context, in *ByID) (*empty, error) {
			return nil, refused(s.b.DeleteDevice(ctx, userOf(ctx), in.ID))
		})
	op := operation(http.MethodPost, "/devices:import", "import-devices", "Register the devices of a CSV file (id,key,group): all or none", tag)
	op.MaxBodyBytes = maxCSV
	huma.Register(s.api, op, func(ctx context.Context, in *struct {
		RawBody []byte `contentType:"text/csv"`
	}) (*body[client.Import], error) {
		return answer(s.b.ImportDevices(ctx, userOf(ctx), in.RawBody))
	})
}

// watchDevices registers the stream of the devices.
func (s *service) watchDevices(tag string) {
	op := operation(http.MethodGet, "/devices/events", "watch-devices", "Follow the devices: all of them, or those that changed since Last-Event-ID, then each that changes", tag)
	s.api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[client.DeviceEvents](), true, "DeviceEvents")
	op.Responses = streamed("devices", "a DeviceEvents in JSON; id, on the last of those that belong together: its version")
	type request struct {
		Last string `header:"Last-Event-ID" maxLength:"20" doc:"Of the last event that was seen"`
	}
	huma.Register(s.api, op, func(ctx context.Context, in *request) (*huma.StreamResponse, error) {
		after, _ := strconv.ParseUint(in.Last, 10, 64)
		if err := s.b.MayView(userOf(ctx)); err != nil {
			return nil, refused(err)
		}
		groups := userOf(ctx).Groups
		return s.watched(ctx, func(ctx context.Context, u auth.User) ([]event, bool, error) {
			if !slices.Equal(u.Groups, groups) {
				after, groups = 0, u.Groups
			}
			list, version, err := s.b.WatchDevices(ctx, u, after)
			after = version
			if err != nil {
				return nil, false, err
			}
			var events []event
			for _, data := range list {
				events = append(events, event{"devices", 0, json.RawMessage(data)})
			}
			events[len(events)-1].id = version
			return events, false, nil
		}), nil
	})
}

// watched is streams for the devices, of which a user has so many at a time.
func (s *service) watched(ctx context.Context, next source) *huma.StreamResponse {
	answer, user := s.streams(ctx, next), userOf(ctx).Name
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		if !s.watching.Enter(user, maxWatching) {
			_, w := humago.Unwrap(hc)
			WriteProblem(w, client.Refuse(http.StatusTooManyRequests, "too_many_streams", "the user follows the devices "+strconv.Itoa(maxWatching)+" times"))
			return
		}
		defer s.watching.Leave(user)
		answer.Body(hc)
	}}
}

func (s *service) nodes() {
	const tag = "nodes"
	huma.Register(s.api, operation(http.MethodGet, "/nodes", "list-nodes", "List nodes by name", tag),
		func(ctx context.Context, in *Query) (*body[List[client.Node]], error) {
			return page(s.b.Nodes(ctx, userOf(ctx), *in))
		})
	op := operation(http.MethodPost, "/nodes", "claim-node", "Make a claim with which one node may enrol, once, within an hour", tag)
	op.DefaultStatus = http.StatusCreated
	huma.Register(s.api, op, func(ctx context.Context, in *struct {
		Body struct {
			Name string `json:"name" minLength:"1" maxLength:"64"`
		}
	}) (*body[client.Claim], error) {
		return answer(s.b.ClaimNode(ctx, userOf(ctx), in.Body.Name))
	})
	huma.Register(s.api, operation(http.MethodDelete, "/nodes/{name}", "delete-node", "Remove a node and close its sessions", tag),
		func(ctx context.Context, in *ByName) (*empty, error) {
			return nil, refused(s.b.DeleteNode(ctx, userOf(ctx), in.Name))
		})
}

func (s *service) drain() {
	huma.Register(s.api, operation(http.MethodPost, "/nodes/{name}/drain", "drain-node", "Give a node no new sessions, and move those that it has if wanted, or give it some again", "nodes"),
		func(ctx context.Context, in *struct {
			ByName
			Body client.DrainRequest
		}) (*body[client.Node], error) {
			return answer(s.b.DrainNode(ctx, userOf(ctx), in.Name, in.Body))
		})
}

func (s *service) others() {
	s.drain()
	huma.Register(s.api, operation(http.MethodGet, "/trust", "get-trust", "Show what devices and nodes have to trust", "trust"),
		func(ctx context.Context, _ *empty) (*body[client.Trust], error) {
			return answer(s.b.Trust(ctx, userOf(ctx)))
		})
	const tag = "tokens"
	huma.Register(s.api, operation(http.MethodGet, "/tokens", "list-tokens", "List tokens, without their secrets", tag),
		func(ctx context.Context, in *Query) (*body[List[client.Token]], error) {
			return page(s.b.Tokens(ctx, userOf(ctx), *in))
		})
	op := operation(http.MethodPost, "/tokens", "create-token", "Make a token; its secret is shown once", tag)
	op.DefaultStatus = http.StatusCreated
	huma.Register(s.api, op, func(ctx context.Context, in *struct{ Body client.TokenRequest }) (*body[client.Token], error) {
		return answer(s.b.CreateToken(ctx, userOf(ctx), in.Body))
	})
	huma.Register(s.api, operation(http.MethodDelete, "/tokens/{id}", "delete-token", "Revoke a token", tag),
		func(ctx context.Context, in *ByID) (*empty, error) {
			return nil, refused(s.b.DeleteToken(ctx, userOf(ctx), in.ID))
		})
}
