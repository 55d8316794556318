// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package execapi is the contract of the host API's WebSocket that runs programs in containers: its messages as they
// travel, and its limits.
//
// Binary messages are bytes of the program, in both directions. Text messages are JSON, as below. It is older than
// Drydock, like all of package hostapi: what is written here stays as it is.
package execapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// Path is where the WebSocket is.
const Path = "/exec"

const (
	// MaxOutstanding is how many binary messages a client may be ahead of those that the program has been given.
	MaxOutstanding = 1024

	// CapacityEvery is after how many messages given to the program the client is told about it.
	CapacityEvery = 128

	// MaxMessage is how large a message may be, in bytes.
	MaxMessage = 64 << 10

	// PingEvery is how often either side shows that it is there.
	PingEvery = 2 * time.Second

	// MaxSilence is when either side takes the other for gone.
	MaxSilence = 10 * time.Second
)

// OSString is text as the operating system has it: any bytes.
type OSString string

// MarshalJSON writes the bytes one by one.
func (s OSString) MarshalJSON() ([]byte, error) {
	list := make([]int, len(s))
	for i := range len(s) {
		list[i] = int(s[i])
	}
	return json.Marshal(struct{ Unix []int }{list})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (s *OSString) UnmarshalJSON(data []byte) error {
	var v map[string][]*uint8
	if err := json.Unmarshal(data, &v); err != nil {
		return err
	}
	list, ok := v["Unix"]
	if !ok || len(v) != 1 || list == nil {
		return errors.New(`a word of the command is not {"Unix": [bytes]}`)
	}
	b := make([]byte, len(list))
	for i, c := range list {
		if c == nil {
			return errors.New("null is not a byte")
		}
		b[i] = *c
	}
	*s = OSString(b)
	return nil
}

// Size is that of a terminal, in characters.
type Size struct {
	Rows uint16 `json:"rows"`
	Cols uint16 `json:"cols"`
}

// UnmarshalJSON reads a size, of which nothing may be missing.
func (s *Size) UnmarshalJSON(data []byte) error {
	var v struct {
		Rows *uint16 `json:"rows"`
		Cols *uint16 `json:"cols"`
	}
	if err := json.Unmarshal(data, &v); err != nil {
		return err
	}
	if v.Rows == nil || v.Cols == nil {
		return errors.New("a size has rows and cols")
	}
	*s = Size{*v.Rows, *v.Cols}
	return nil
}

// TTY says that the program gets a terminal.
type TTY struct {
	Size *Size `json:"size"` // nil: not known
}

// Initialize is the first message: what to run, and where.
type Initialize struct {
	Command []OSString `json:"command"`
	Target  string     `json:"target"` // name of a host container
	TTY     *TTY       `json:"tty"`    // nil: no terminal
}

// ClientMessage is what a client says. Exactly one of its fields is set.
type ClientMessage struct {
	Initialize      *Initialize
	ContentComplete bool  // the client's input has ended
	Winch           *Size // the client's terminal has another size now
}

const contentComplete = `"ContentComplete"`

// MarshalJSON writes the message.
func (m ClientMessage) MarshalJSON() ([]byte, error) {
	switch {
	case m.Initialize != nil:
		return json.Marshal(struct{ Initialize *Initialize }{m.Initialize})
	case m.Winch != nil:
		return json.Marshal(struct{ Winch *Size }{m.Winch})
	case m.ContentComplete:
		return []byte(contentComplete), nil
	}
	return nil, errors.New("an empty message")
}

// ParseClient reads what a client says.
func ParseClient(data []byte) (ClientMessage, error) {
	if string(bytes.TrimSpace(data)) == contentComplete {
		return ClientMessage{ContentComplete: true}, nil
	}
	name, content, err := tagged(data)
	if err != nil {
		return ClientMessage{}, err
	}
	switch name {
	case "Initialize":
		var v struct {
			Command []OSString `json:"command"`
			Target  *string    `json:"target"`
			TTY     *TTY       `json:"tty"`
		}
		err := decode(content, &v)
		if err == nil && (v.Command == nil || v.Target == nil) {
			err = errors.New("Initialize has a command and a target")
		}
		if err != nil {
			return ClientMessage{}, err
		}
		return ClientMessage{Initialize: &Initialize{v.Command, *v.Target, v.TTY}}, nil
	case "Winch":
		size := &Size{}
		if err := decode(content, size); err != nil {
			return ClientMessage{}, err
		}
		return ClientMessage{Winch: size}, nil
	}
	return ClientMessage{}, fmt.Errorf("unknown message %.40q", name)
}

// Capacity says how much more the client may send.
type Capacity struct {
	MaxOutstanding uint64 `json:"max_messages_outstanding"`
	Written        uint64 `json:"messages_written"`
}

// ServerMessage is what a server says.
type ServerMessage struct {
	Capacity Capacity
}

// ParseServer reads what a server says.
func ParseServer(data []byte) (ServerMessage, error) {
	name, content, err := tagged(data)
	if err != nil {
		return ServerMessage{}, err
	}
	if name != "Capacity" {
		return ServerMessage{}, fmt.Errorf("unknown message %.40q", name)
	}
	var v struct {
		MaxOutstanding *uint64 `json:"max_messages_outstanding"`
		Written        *uint64 `json:"messages_written"`
	}
	err = decode(content, &v)
	if err == nil && (v.MaxOutstanding == nil || v.Written == nil) {
		err = errors.New("Capacity has max_messages_outstanding and messages_written")
	}
	if err != nil {
		return ServerMessage{}, err
	}
	return ServerMessage{Capacity{*v.MaxOutstanding, *v.Written}}, nil
}

// tagged reads an object with one key.
func tagged(data []byte) (string, json.RawMessage, error) {
	var v map[string]json.RawMessage
	if err := decode(data, &v); err != nil {
		return "", nil, err
	}
	if len(v) != 1 {
		return "", nil, errors.New("a message is an object with one key")
	}
	for name, content := range v {
		return name, content, nil
	}
	return "", nil, nil
}

// decode reads one JSON value, which is not null and to which nothing follows.
func decode(data []byte, v any) error {
	if string(bytes.TrimSpace(data)) == "null" {
		return errors.New("null is no message")
	}
	d := json.NewDecoder(bytes.NewReader(data))
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the JSON value")
	}
	return nil
}
