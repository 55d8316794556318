// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package websocket speaks the WebSocket protocol (RFC 6455) over one connection, for either side.
//
// It is here because of a client that must be served and that common packages cannot serve. Its key has no padding:
// github.com/coder/websocket and github.com/gorilla/websocket decode the key and refuse it, and a key that is repaired
// before they see it leads to a proof that the client does not take. They also put fragments together by themselves,
// which are to be answered with a close code; golang.org/x/net/websocket takes any key, and has neither close codes nor
// pings.
//
// A message is one frame: what is fragmented is refused, as is everything that the protocol forbids, with the code that
// the connection is to be closed with. Nothing is compressed.
package websocket

import (
	"bufio"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"unicode/utf8"
)

// Opcode says what a frame is.
type Opcode byte

// The kinds of frames.
const (
	Continuation Opcode = 0x0
	Text         Opcode = 0x1
	Binary       Opcode = 0x2
	Close        Opcode = 0x8
	Ping         Opcode = 0x9
	Pong         Opcode = 0xa
)

// Close codes. The protocol and who registered them say what each means.
const (
	CodeNormal      = 1000
	CodeGoingAway   = 1001
	CodeProtocol    = 1002
	CodeUnsupported = 1003
	CodeNone        = 1005 // never sent: the frame has no code
	CodeInvalidData = 1007
	CodePolicy      = 1008
	CodeTooBig      = 1009
	CodeInternal    = 1011
)

// Error is why a connection is closed, or was.
type Error struct {
	Code   int
	Reason string
}

func (e *Error) Error() string { return fmt.Sprintf("websocket: code %d: %s", e.Code, e.Reason) }

func violation(code int, reason string) error { return &Error{code, reason} }

const (
	maxControl = 125 // bytes of the data of a control frame
	maxReason  = maxControl - 2
)

// Message is one frame.
type Message struct {
	Op   Opcode
	Data []byte // not used again by the connection
}

// Conn is one end of a connection. One goroutine may read while several write.
type Conn struct {
	net.Conn // for deadlines and closing
	reader   *bufio.Reader
	client   bool
	limit    int64

	mu    sync.Mutex
	frame []byte // of a client, masked
}

// NewConn returns the server's end of a connection whose handshake is done, or the client's. Reads go through r, which
// may hold bytes already. A message may have limit bytes at most.
func NewConn(c net.Conn, r *bufio.Reader, client bool, limit int) *Conn {
	return &Conn{Conn: c, reader: r, client: client, limit: int64(limit)}
}

// Next reads one message, control frames included. An *Error is a violation by the other side, to be answered with
// its code; other errors are those of the connection. After an error there is nothing more to read.
func (c *Conn) Next() (Message, error) {
	var head [8]byte
	if _, err := io.ReadFull(c.reader, head[:2]); err != nil {
		return Message{}, err
	}
	op, final, masked := Opcode(head[0]&0x0f), head[0]&0x80 != 0, head[1]&0x80 != 0
	length := int64(head[1] & 0x7f)
	control := op >= Close
	switch {
	case head[0]&0x70 != 0:
		return Message{}, violation(CodeProtocol, "reserved bits are set")
	case op > Pong || op > Binary && op < Close:
		return Message{}, violation(CodeProtocol, "unknown opcode")
	case masked == c.client:
		return Message{}, violation(CodeProtocol, "frames of clients are masked, those of servers are not")
	case control && (!final || length > maxControl):
		return Message{}, violation(CodeProtocol, "control frame is fragmented or too long")
	case !final || op == Continuation:
		return Message{}, violation(CodeUnsupported, "fragmented messages are not supported")
	}
	if extended := map[int64]int{126: 2, 127: 8}[length]; extended > 0 {
		field := head[8-extended:]
		if _, err := io.ReadFull(c.reader, field); err != nil {
			return Message{}, unexpected(err)
		}
		clear(head[:8-extended])
		n := binary.BigEndian.Uint64(head[:])
		if n > 1<<62 || int64(n) < map[int]int64{2: 126, 8: 1 << 16}[extended] {
			return Message{}, violation(CodeProtocol, "length is not written as it should be")
		}
		length = int64(n)
	}
	if length > c.limit {
		return Message{}, violation(CodeTooBig, fmt.Sprintf("message of %d bytes, more than %d", length, c.limit))
	}
	var mask [4]byte
	if masked {
		if _, err := io.ReadFull(c.reader, mask[:]); err != nil {
			return Message{}, unexpected(err)
		}
	}
	data := make([]byte, length)
	if _, err := io.ReadFull(c.reader, data); err != nil {
		return Message{}, unexpected(err)
	}
	if masked {
		apply(mask, data)
	}
	if op == Text && !utf8.Valid(data) {
		return Message{}, violation(CodeInvalidData, "text is not UTF-8")
	}
	return Message{op, data}, nil
}

// unexpected is about an end inside a frame.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func apply(mask [4]byte, data []byte) {
	for i := range data {
		data[i] ^= mask[i%4]
	}
}

// Send writes one message.
func (c *Conn) Send(op Opcode, data []byte) error {
	if op >= Close && len(data) > maxControl {
		return errors.New("websocket: control frame too long")
	}
	head := make([]byte, 2, 14)
	head[0] = 0x80 | byte(op)
	switch n := len(data); {
	case n < 126:
		head[1] = byte(n)
	case n < 1<<16:
		head[1] = 126
		head = binary.BigEndian.AppendUint16(head, uint16(n))
	default:
		head[1] = 127
		head = binary.BigEndian.AppendUint64(head, uint64(n))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.client {
		_, err := (&net.Buffers{head, data}).WriteTo(c.Conn)
		return err
	}
	head[1] |= 0x80
	var mask [4]byte
	_, _ = rand.Read(mask[:]) // never fails
	c.frame = append(append(append(c.frame[:0], head...), mask[:]...), data...)
	apply(mask, c.frame[len(c.frame)-len(data):])
	_, err := c.Conn.Write(c.frame)
	return err
}

// SendClose writes a close frame. A reason that is too long is cut.
func (c *Conn) SendClose(code int, reason string) error {
	if len(reason) > maxReason {
		reason = reason[:maxReason]
		for !utf8.ValidString(reason) {
			reason = reason[:len(reason)-1]
		}
	}
	return c.Send(Close, append(binary.BigEndian.AppendUint16(nil, uint16(code)), reason...))
}

// ParseClose reads the data of a close frame. The error is a violation.
func ParseClose(data []byte) (Error, error) {
	if len(data) == 0 {
		return Error{CodeNone, ""}, nil
	}
	if len(data) == 1 {
		return Error{}, violation(CodeProtocol, "half a close code")
	}
	code := int(binary.BigEndian.Uint16(data))
	switch {
	case code < CodeNormal, code == 1004, code == CodeNone, code == 1006, code > 1014 && code < 3000, code >= 5000:
		return Error{}, violation(CodeProtocol, fmt.Sprintf("close code %d may not be sent", code))
	case !utf8.Valid(data[2:]):
		return Error{}, violation(CodeInvalidData, "close reason is not UTF-8")
	}
	return Error{code, string(data[2:])}, nil
}
