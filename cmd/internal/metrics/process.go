package metrics

import (
	"path"
	"runtime"
	"runtime/debug"
	"time"
)

// started is when this program began, as far as Go knows.
var started = time.Now()

// usage is what the system says of this process.
type usage struct {
	cpu      float64 // seconds
	resident uint64  // bytes
	open     int     // descriptors
	most     uint64  // descriptors
}

// Process writes the process's own figures under the names that every dashboard
// knows, and which build it is.
func Process(m Writer) {
	own := func(name, kind, help string, v any) {
		m.head(name, kind, help)
		m.line(name, nil, v)
	}
	program, version := build()
	m.Each("build_info", Gauge, "Which build runs; always 1.", []Figure{
		{Labels{"program", program, "version", version, "go", runtime.Version()}, 1}})
	own("process_start_time_seconds", Gauge, "When the process began, since 1970.", float64(started.UnixMilli())/1000)
	own("go_goroutines", Gauge, "Goroutines.", runtime.NumGoroutine())
	u, ok := used()
	if !ok {
		return
	}
	own("process_cpu_seconds_total", Counter, "CPU time of the process.", u.cpu)
	own("process_resident_memory_bytes", Gauge, "Memory of the process that is resident.", u.resident)
	own("process_open_fds", Gauge, "Descriptors that are open.", u.open)
	own("process_max_fds", Gauge, "Descriptors that may be open.", u.most)
}

// build is the program's name and its module's version.
func build() (program, version string) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown", "unknown"
	}
	return path.Base(info.Path), info.Main.Version
}
