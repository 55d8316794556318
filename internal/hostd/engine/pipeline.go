// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package engine

import (
	"context"
	"io"
	"time"
)

// ahead reads from another reader in a goroutine of its own, so that the stages of a transfer run at the same time. The
// few buffers between two stages are all the memory that this takes.
type ahead struct {
	full chan chunk  // what was read, in order; closed after the chunk with the error
	free chan []byte // buffers to read into
	quit chan struct{}
	done chan struct{}
	now  chunk // the rest of what Read is giving out
	buf  []byte
}

type chunk struct {
	data []byte
	err  error // after data; io.EOF at the end
}

// aheadBuffers is the number of buffers of copyBuffer bytes between two stages: enough to ride out the jitter of a
// disk that empties its cache.
const aheadBuffers = 4

// readAhead starts reading r until its first error. Close must be called.
func readAhead(r io.Reader) *ahead {
	a := &ahead{
		full: make(chan chunk, aheadBuffers), free: make(chan []byte, aheadBuffers),
		quit: make(chan struct{}), done: make(chan struct{}),
	}
	for range aheadBuffers {
		a.free <- make([]byte, copyBuffer)
	}
	go func() {
		defer close(a.done)
		for {
			var buf []byte
			select {
			case buf = <-a.free:
			case <-a.quit:
				return
			}
			// Unlike io.ReadFull this keeps a reader's own io.ErrUnexpectedEOF, which is no good end, apart from io.EOF.
			n, err := 0, error(nil)
			for n < len(buf) && err == nil {
				var more int
				more, err = r.Read(buf[n:])
				n += more
			}
			a.full <- chunk{buf[:n], err} // has room for every buffer
			if err != nil {
				return
			}
		}
	}()
	return a
}

// next returns the next bytes, which are valid until the call after it. The error comes alone, and again and again.
func (a *ahead) next() ([]byte, error) {
	if a.buf != nil {
		a.free <- a.buf[:copyBuffer]
		a.buf = nil
	}
	if a.now.err == nil {
		a.now = <-a.full
		if len(a.now.data) > 0 {
			a.buf = a.now.data
			return a.now.data, nil
		}
	}
	return nil, a.now.err
}

// Read implements io.Reader for the stage after. It does not go together with next.
func (a *ahead) Read(p []byte) (int, error) {
	if len(a.now.data) == 0 {
		if a.buf != nil {
			a.free <- a.buf[:copyBuffer]
			a.buf = nil
		}
		if a.now.err != nil {
			return 0, a.now.err
		}
		a.now = <-a.full
		a.buf = a.now.data
	}
	n := copy(p, a.now.data)
	a.now.data = a.now.data[n:]
	if n == 0 && len(p) > 0 {
		return 0, a.now.err
	}
	return n, nil
}

// Close ends the goroutine. The reader below must come to an end by itself, for example because its context has.
func (a *ahead) Close() {
	close(a.quit)
	<-a.done
}

// paced is a reader that counts what passes and keeps to a rate.
type paced struct {
	io.Reader
	ctx     context.Context
	rate    int64 // bytes per second; 0: as fast as it comes
	passed  func(int)
	began   time.Time
	through int64
}

// maxBurst bounds what a paced reader takes at once, in bytes.
const maxBurst = 64 << 10

func (p *paced) Read(b []byte) (int, error) {
	if p.rate > 0 {
		b = b[:min(len(b), maxBurst)]
		if p.began.IsZero() {
			p.began = time.Now()
		}
		due := p.began.Add(time.Duration(float64(p.through) / float64(p.rate) * float64(time.Second)))
		if wait := time.Until(due); wait > 0 {
			timer := time.NewTimer(wait)
			select {
			case <-timer.C:
			case <-p.ctx.Done():
				timer.Stop()
				return 0, context.Cause(p.ctx)
			}
		} else if -wait > time.Second { // a slow server does not earn a fast rest
			p.began, p.through = time.Now(), 0
		}
	}
	n, err := p.Reader.Read(b)
	p.through += int64(n)
	p.passed(n)
	return n, err
}
