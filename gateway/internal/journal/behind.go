package journal

import "time"

// run does what need not be done at once.
func (j *Journal) run() {
	for {
		select {
		case <-j.wake:
		case <-j.done:
			return
		}
		select {
		case <-time.After(pause):
		case <-j.done:
			return
		}
		j.look()
	}
}

// look brings the file up to date.
func (j *Journal) look() {
	j.mu.Lock()
	if j.fault != nil && j.file != nil {
		j.catchUp()
	}
	f, dirty := j.file, j.dirty
	anew := f == nil || j.fault == nil && j.size > 2*j.weight+spare
	j.dirty = false
	j.mu.Unlock()
	switch {
	case anew:
		if err := j.rewrite(); err != nil {
			j.mu.Lock()
			j.errors++
			if f == nil {
				j.failed(err)
			}
			j.mu.Unlock()
		}
	case dirty:
		_ = f.Sync()
	}
	if s := j.Stats(); s.Fault != nil {
		j.poke()
	}
}

// catchUp writes what is late; j.mu is held.
func (j *Journal) catchUp() {
	for key, line := range j.late {
		if err := j.append(key, line); err != nil {
			j.failed(err)
			return
		}
		delete(j.late, key)
	}
	j.caught()
}

// caught notes that the file is no longer behind; j.mu is held.
func (j *Journal) caught() {
	if j.fault != nil {
		j.fault = nil
		j.log.Info("the journal is written again")
	}
}
