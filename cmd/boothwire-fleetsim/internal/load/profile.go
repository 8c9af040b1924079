package load

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime/pprof"
	"sync"
	"time"
)

// profileFor is how long a part is profiled within a step: long enough to see what it
// does, and not all of a long step.
const profileFor = 20 * time.Second

// profile writes what every part does with its CPU in the first seconds of a step; the
// returned func waits for that.
func (r *Run) profile(ctx context.Context, step string) func() {
	if r.profiles == "" {
		return func() {}
	}
	r.steps++
	from := map[string]string{}
	for name, address := range r.deployed.Debug {
		from[name] = address
	}
	for i, address := range r.crew.Debug {
		from[fmt.Sprintf("devices-%d", i+1)] = address
	}
	file := func(name string) string {
		return filepath.Join(r.profiles, fmt.Sprintf("%02d-%s-%s.prof", r.steps, step, name))
	}
	var work sync.WaitGroup
	for name, address := range from {
		work.Go(func() { _ = fetchProfile(ctx, address, file(name)) }) // a part may be killed meanwhile
	}
	own, err := os.Create(file("fleetsim"))
	if err == nil && pprof.StartCPUProfile(own) == nil {
		work.Go(func() {
			_ = sleep(ctx, profileFor)
			pprof.StopCPUProfile()
			own.Close()
		})
	}
	return work.Wait
}

func fetchProfile(ctx context.Context, address, file string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", address, int(profileFor.Seconds())), nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(f, res.Body)
	return err
}
