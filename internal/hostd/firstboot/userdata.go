// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package firstboot

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/drydock-os/drydock/internal/hostapi/userdata"
	"github.com/drydock-os/drydock/internal/hostd/settings"
	"github.com/drydock-os/drydock/internal/hostd/store"
)

// MaxUserData is the largest user data that is read, unpacked, in bytes.
const MaxUserData = 1 << 20

// Error says where user data is wrong, once it is unpacked.
type Error = userdata.Error

// unpack undoes base64 and gzip, in whatever order somebody has packed it. Text with a table is never taken for base64.
func unpack(data []byte) ([]byte, error) {
	for range 3 {
		if bytes.HasPrefix(data, []byte{0x1f, 0x8b}) {
			z, err := gzip.NewReader(bytes.NewReader(data))
			if err == nil {
				data, err = io.ReadAll(io.LimitReader(z, MaxUserData+1))
			}
			if err != nil {
				return nil, &Error{Reason: "unpacking gzip: " + err.Error()}
			}
		} else {
			text := bytes.Join(bytes.Fields(data), nil)
			decoded, err := base64.StdEncoding.DecodeString(string(text))
			if err != nil || len(text) == 0 {
				return data, nil
			}
			data = decoded
		}
		if len(data) > MaxUserData {
			return nil, &Error{Reason: fmt.Sprintf("larger than %d bytes", MaxUserData)}
		}
	}
	return data, nil
}

// Parse reads user data, TOML with the table settings and nothing else, packed or not, and returns the settings as
// JSON. It returns *Error.
func Parse(data []byte, model *settings.Model) ([]byte, error) {
	if len(data) > MaxUserData {
		return nil, &Error{Reason: fmt.Sprintf("larger than %d bytes", MaxUserData)}
	}
	text, err := unpack(data)
	if err != nil {
		return nil, err
	}
	file, err := userdata.Parse(text)
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(file)) {
		if name != store.Settings {
			return nil, &Error{Line: userdata.LineOf(text, []string{name}), Key: name, Reason: "unknown table: everything is in the table settings"}
		}
	}
	table, ok := file[store.Settings].(map[string]any)
	switch _, given := file[store.Settings]; {
	case !given:
		return nil, &Error{Reason: "there is no table settings"}
	case !ok:
		return nil, &Error{Line: userdata.LineOf(text, []string{store.Settings}), Key: store.Settings, Reason: "it must be one table"}
	}
	out, err := json.Marshal(table)
	if err != nil {
		return nil, &Error{Reason: err.Error()}
	}
	if _, err := model.Parse(out); err != nil {
		e, ok := errors.AsType[*settings.Error](err)
		if !ok {
			return nil, &Error{Reason: err.Error()}
		}
		return nil, &Error{Line: userdata.LineOfItem(text, e.Path(), e.Item), Key: e.Key, Reason: e.Reason}
	}
	return out, nil
}
