// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package websocket

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
)

// wire is a connection that keeps what is written to it, and of which nothing is read.
type wire struct {
	net.Conn
	bytes.Buffer
}

func (w *wire) Read(p []byte) (int, error)  { return w.Buffer.Read(p) }
func (w *wire) Write(p []byte) (int, error) { return w.Buffer.Write(p) }

func reader(data []byte, client bool, limit int) *Conn {
	return NewConn(nil, bufio.NewReader(bytes.NewReader(data)), client, limit)
}

// The proof is the example in section 1.3 of RFC 6455, the frames are those of section 5.7.
func TestTheStandardsExamples(t *testing.T) {
	if got := acceptKey("dGhlIHNhbXBsZSBub25jZQ=="); got != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Error(got)
	}
	for _, c := range []struct {
		data   string
		client bool
		op     Opcode
		want   string
	}{
		{"\x81\x05Hello", true, Text, "Hello"},
		{"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", false, Text, "Hello"},
		{"\x89\x05Hello", true, Ping, "Hello"},
		{"\x82\x7e\x01\x00" + strings.Repeat("x", 256), true, Binary, strings.Repeat("x", 256)},
		{"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00" + strings.Repeat("x", 1<<16), true, Binary, strings.Repeat("x", 1<<16)},
	} {
		m, err := reader([]byte(c.data), c.client, 1<<17).Next()
		if err != nil || m.Op != c.op || string(m.Data) != c.want {
			t.Errorf("%.20q: %v %.20q %v", c.data, m.Op, m.Data, err)
		}
	}
}

func TestWhatIsCutOffIsNoMessage(t *testing.T) {
	whole := "\x82\xfe\x01\x00" + strings.Repeat("x", 4+256)
	for i := range len(whole) {
		_, err := reader([]byte(whole[:i]), false, 1<<10).Next()
		if i == 0 && !errors.Is(err, io.EOF) || i > 0 && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%d bytes: %v", i, err)
		}
	}
}

func TestCloseFrames(t *testing.T) {
	for data, want := range map[string]Error{
		"": {CodeNone, ""}, "\x03\xe8": {1000, ""}, "\x03\xe8137": {1000, "137"}, "\x03\xf3why": {1011, "why"}, "\x0f\xa0": {4000, ""},
	} {
		if got, err := ParseClose([]byte(data)); err != nil || got != want {
			t.Errorf("%q: %v %v", data, got, err)
		}
	}
	for _, data := range []string{"\x03", "\x00\x00", "\x03\xe7", "\x03\xed", "\x03\xee", "\x03\xf7", "\x0b\xb7", "\x13\x88", "\x03\xe8\xff"} {
		got, err := ParseClose([]byte(data))
		if _, ok := errors.AsType[*Error](err); !ok {
			t.Errorf("%q: %v %v", data, got, err)
		}
	}
	w := &wire{}
	if err := NewConn(w, nil, false, 0).SendClose(CodeInternal, strings.Repeat("é", 100)); err != nil {
		t.Fatal(err)
	}
	m, err := reader(w.Bytes(), true, 200).Next()
	if err != nil {
		t.Fatal(err)
	}
	if why, err := ParseClose(m.Data); err != nil || why.Reason != strings.Repeat("é", 61) {
		t.Errorf("a reason that is too long: %v %v", why, err)
	}
}

// Whatever comes, reading ends with messages within the limit, a violation that has a code that may be sent, or the end
// of the connection.
func FuzzNext(f *testing.F) {
	f.Add([]byte("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"), false)
	f.Add([]byte("\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff"), false)
	f.Add([]byte("\x88\x02\x03\xe8"), true)
	f.Add([]byte("\x01\x00\x80\x00"), true)
	f.Fuzz(func(t *testing.T, data []byte, client bool) {
		const limit = 1 << 10
		c := reader(data, client, limit)
		for {
			m, err := c.Next()
			if v, ok := errors.AsType[*Error](err); ok {
				if _, err := ParseClose([]byte{byte(v.Code >> 8), byte(v.Code)}); err != nil {
					t.Fatalf("code %d may not be sent", v.Code)
				}
				return
			}
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				return
			}
			if err != nil || len(m.Data) > limit {
				t.Fatalf("%d bytes, %v", len(m.Data), err)
			}
			if m.Op == Close {
				_, _ = ParseClose(m.Data)
			}
		}
	})
}

// What one side sends the other reads.
func FuzzSend(f *testing.F) {
	f.Add([]byte("hello"), true, 1)
	f.Add([]byte("x"), false, 70000)
	f.Fuzz(func(t *testing.T, data []byte, client bool, times int) {
		data = bytes.Repeat(data, min(max(times, 0), 70000/max(len(data), 1)))
		w := &wire{}
		if err := NewConn(w, nil, client, 0).Send(Binary, data); err != nil {
			t.Fatal(err)
		}
		m, err := reader(w.Bytes(), !client, len(data)).Next()
		if err != nil || m.Op != Binary || !bytes.Equal(m.Data, data) {
			t.Fatalf("%v, %d bytes, %v", m.Op, len(m.Data), err)
		}
	})
}
