package feed

import (
	"bytes"
	"cmp"
	"container/list"
	"encoding/json"
	"fmt"
	"iter"
	"math/bits"
	"slices"
	"strconv"
)

const (
	// MaxPage is the most devices that one event has, and maxBytes about the most bytes:
	// who reads it holds it whole.
	MaxPage  = 1000
	maxBytes = 512 << 10
	// maxLeft bounds what is remembered of devices that went, or left their group.
	maxLeft = 10000
	// maxCached bounds the answers that are kept until the next change. Those who keep
	// up all get the same one, for each set of groups.
	maxCached = 64
)

// Log has each device once, as it is, in the order in which they changed last. Whoever
// knows a version learns what has changed since: each device once, however often it
// did. It is for one goroutine at a time.
type Log struct {
	version uint64
	floor   uint64 // what changed up to it is not told apart any more
	present ordered[string]
	left    ordered[departure]
	cache   map[string][][]byte
}

// ordered are records by the time of their latest change, the earliest first.
type ordered[K comparable] struct {
	list *list.List
	at   map[K]*list.Element
}

func newOrdered[K comparable]() ordered[K] { return ordered[K]{list.New(), make(map[K]*list.Element)} }

func (o ordered[K]) get(k K) (*record, bool) {
	e := o.at[k]
	if e == nil {
		return nil, false
	}
	return e.Value.(*record), true
}

func (o ordered[K]) put(k K, r *record) {
	o.remove(k)
	o.at[k] = o.list.PushBack(r)
}

func (o ordered[K]) remove(k K) {
	if e := o.at[k]; e != nil {
		o.list.Remove(e)
		delete(o.at, k)
	}
}

// since yields what changed after a version, the latest first.
func (o ordered[K]) since(version uint64) iter.Seq[*record] {
	return func(yield func(*record) bool) {
		for e := o.list.Back(); e != nil; e = e.Prev() {
			if r := e.Value.(*record); r.version <= version || !yield(r) {
				return
			}
		}
	}
}

// departure is a device in a group: that it is in, or that it left.
type departure struct{ id, group string }

// record is a device as it is, or, without data, a departure.
type record struct {
	departure
	data    []byte
	version uint64
}

// New returns an empty log at a version, which must be above those of every log before
// it.
func New(version uint64) *Log {
	return &Log{
		version: version, floor: version, present: newOrdered[string](), left: newOrdered[departure](),
		cache: make(map[string][][]byte),
	}
}

// Version is that of the latest changes.
func (l *Log) Version() uint64 { return l.version }

// Next begins the next version: that of what is put and dropped from now on.
func (l *Log) Next() {
	l.version++
	clear(l.cache)
}

// Put says how a device is now: data is JSON, and the log's from now on.
func (l *Log) Put(id, group string, data []byte) {
	if before, ok := l.present.get(id); ok && before.group != group {
		l.leave(before.departure)
	}
	l.present.put(id, &record{departure{id, group}, data, l.version})
}

// Drop says that a device is no more.
func (l *Log) Drop(id string) {
	if r, ok := l.present.get(id); ok {
		l.leave(r.departure)
		l.present.remove(id)
	}
}

// leave remembers a departure for those who saw the device. Of too many the earliest is
// forgotten, and with it what came before.
func (l *Log) leave(d departure) {
	l.left.put(d, &record{departure: d, version: l.version})
	if len(l.left.at) > maxLeft {
		oldest := l.left.list.Front().Value.(*record)
		l.floor = max(l.floor, oldest.version)
		l.left.remove(oldest.departure)
	}
}

// Since returns the events, each the JSON of a DeviceEvents, after which who saw the
// log at a version, and sees devices of groups (none: of all), knows it as it is now.
// One who knows no version of this log, or one that is too old, gets all anew. Nothing
// is returned to who misses nothing. The bytes are shared: they must not be changed.
func (l *Log) Since(after uint64, groups []string) [][]byte {
	if after == l.version {
		return nil
	}
	after = l.rounded(after)
	key := fmt.Sprintf("%d %q", after, groups)
	if events, ok := l.cache[key]; ok {
		return events
	}
	v := view{log: l, groups: groups}
	if after == none {
		v.all()
	} else {
		v.changes(after)
	}
	events := v.pages()
	if len(l.cache) < maxCached {
		l.cache[key] = events
	}
	return events
}

// none is a version that nobody knows.
const none = 0

// rounded is the version from which on somebody is told who knows that of after. Whoever
// asks may name any, and each answer of its own may be the whole log: so those who know
// none share one, and those who miss much are told from one of few versions on.
func (l *Log) rounded(after uint64) uint64 {
	if after < l.floor || after > l.version {
		return none
	}
	missed := l.version - after
	if missed <= exact {
		return after
	}
	return max(l.version-min(l.version, 1<<bits.Len64(missed-1)), l.floor, 1)
}

// exact is how many versions somebody may miss and be told no more than that.
const exact = 16

// view is what one set of groups is told.
type view struct {
	log    *Log
	groups []string
	reset  bool
	shown  []*record
	gone   []string
}

func (v *view) sees(group string) bool {
	return len(v.groups) == 0 || slices.Contains(v.groups, group)
}

func (v *view) all() {
	v.reset = true
	for r := range v.log.present.since(0) {
		if v.sees(r.group) {
			v.shown = append(v.shown, r)
		}
	}
	slices.SortFunc(v.shown, func(a, b *record) int { return cmp.Compare(a.id, b.id) })
}

func (v *view) changes(after uint64) {
	for r := range v.log.present.since(after) {
		if v.sees(r.group) {
			v.shown = append(v.shown, r)
		}
	}
	slices.Reverse(v.shown)
	for r := range v.log.left.since(after) {
		// It may be back, or in another group of these.
		if now, ok := v.log.present.get(r.id); v.sees(r.group) && !(ok && v.sees(now.group)) {
			v.gone = append(v.gone, r.id)
		}
	}
	slices.Sort(v.gone)
	v.gone = slices.Compact(v.gone)
}

// pages are the events, the first of which says that all before it is void, if so.
func (v *view) pages() [][]byte {
	var events [][]byte
	for first := true; first && v.reset || len(v.shown)+len(v.gone) > 0; first = false {
		n, k := fitting(v.shown), min(len(v.gone), MaxPage)
		events = append(events, page(v.shown[:n], v.gone[:k], first && v.reset, n < len(v.shown) || k < len(v.gone)))
		v.shown, v.gone = v.shown[n:], v.gone[k:]
	}
	return events
}

// fitting is how many of the devices go into one event.
func fitting(shown []*record) int {
	size := 0
	for n, r := range shown {
		if size += len(r.data) + 1; n == MaxPage || n > 0 && size > maxBytes {
			return n
		}
	}
	return len(shown)
}

func page(shown []*record, gone []string, reset, more bool) []byte {
	size := 64
	for _, r := range shown {
		size += len(r.data) + 1
	}
	b := bytes.NewBuffer(make([]byte, 0, size))
	b.WriteString(`{"devices":[`)
	for i, r := range shown {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(r.data)
	}
	b.WriteString(`],"gone":`)
	if gone == nil {
		gone = []string{}
	}
	ids, _ := json.Marshal(gone) // strings cannot fail
	b.Write(ids)
	b.WriteString(`,"reset":` + strconv.FormatBool(reset))
	if more {
		b.WriteString(`,"more":true`)
	}
	b.WriteByte('}')
	return b.Bytes()
}
