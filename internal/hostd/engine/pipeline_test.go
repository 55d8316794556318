// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package engine

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

// Everything arrives, in order, through either way of reading, and the error comes after it.
func TestReadAhead(t *testing.T) {
	for _, size := range []int{0, 1, copyBuffer - 1, copyBuffer, copyBuffer + 1, 20*copyBuffer + 7} {
		want := make([]byte, size)
		fill(want, 0)
		broken := errors.New("broken")
		for _, end := range []error{io.EOF, io.ErrUnexpectedEOF, broken} {
			source := func() io.Reader {
				return io.MultiReader(iotest.HalfReader(bytes.NewReader(want)), iotest.ErrReader(end))
			}
			a := readAhead(source())
			got, err := io.ReadAll(a)
			a.Close()
			if err == nil {
				err = io.EOF // which ReadAll does not tell
			}
			if !bytes.Equal(got, want) || !errors.Is(err, end) {
				t.Errorf("%d bytes, then %v: Read gave %d bytes, %v", size, end, len(got), err)
			}
			a = readAhead(source())
			got = nil
			var p []byte
			for p, err = a.next(); err == nil; p, err = a.next() {
				got = append(got, p...)
			}
			if _, again := a.next(); !bytes.Equal(got, want) || !errors.Is(err, end) || !errors.Is(again, end) {
				t.Errorf("%d bytes, then %v: next gave %d bytes, %v, %v", size, end, len(got), err, again)
			}
			a.Close()
		}
		a := readAhead(bytes.NewReader(want)) // given up at once: no goroutine stays behind
		a.Close()
	}
}

// A limit is kept over time, and a wait ends with the context.
func TestPaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rate = 256 << 10
		passed := 0
		began := time.Now()
		p := &paced{Reader: io.LimitReader(neverEnding{}, 10*rate), ctx: t.Context(), rate: rate, passed: func(n int) { passed += n }}
		if n, err := io.Copy(io.Discard, p); err != nil || n != 10*rate || passed != 10*rate {
			t.Errorf("%d bytes, %d counted, %v", n, passed, err)
		}
		if took := time.Since(began); took < 9*time.Second || took > 11*time.Second {
			t.Errorf("10 s worth of data took %v", took)
		}
	})
}

type neverEnding struct{}

func (neverEnding) Read(p []byte) (int, error) { return len(p), nil }
