// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/drydock-os/drydock/internal/hostapi"
	"github.com/drydock-os/drydock/internal/hostd/store"
)

func badRequest(format string, args ...any) error {
	return &httpError{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

func notFound(what string) error {
	return &httpError{http.StatusNotFound, fmt.Sprintf("Found no '%s' in datastore", what)}
}

// param returns a query parameter, which may not be empty. Of a repeated one the last counts.
func param(r *http.Request, name string) (value string, given bool, err error) {
	values, given := r.URL.Query()[name]
	if !given {
		return "", false, nil
	}
	if value = values[len(values)-1]; value == "" {
		return "", true, badRequest("Input '%s' cannot be empty", name)
	}
	return value, true, nil
}

// defaultTransaction is what clients change that name no transaction.
const defaultTransaction = "default"

func transaction(r *http.Request) (string, error) {
	tx, given, err := param(r, "tx")
	if !given {
		tx = defaultTransaction
	}
	return tx, err
}

// keysParam returns the keys of a comma-separated parameter; nil when it is not given.
func keysParam(r *http.Request) ([]store.Key, error) {
	list, given, err := param(r, "keys")
	if !given || err != nil {
		return nil, err
	}
	var keys []store.Key
	for name := range strings.SplitSeq(list, ",") {
		k, err := store.ParseKey(name)
		if err != nil {
			return nil, badKey(name, err)
		}
		keys = append(keys, k)
	}
	return keys, nil
}

// requiredKeys is keysParam for routes that have no answer without it.
func requiredKeys(r *http.Request) ([]store.Key, error) {
	keys, err := keysParam(r)
	if keys == nil && err == nil {
		err = badRequest("Missing required input 'keys'")
	}
	return keys, err
}

func badKey(name string, err error) error {
	return badRequest("Unable to make data key '%s': %v", name, err)
}

// flag returns a query parameter that is true or false.
func flag(r *http.Request, name string) (bool, error) {
	v, given, err := param(r, name)
	switch {
	case err != nil:
		return false, err
	case !given, v == "false":
		return false, nil
	case v == "true":
		return true, nil
	}
	return false, badRequest("Query deserialize error: %s is neither true nor false", name)
}

// readBody returns a JSON body.
func readBody(r *http.Request) ([]byte, error) {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	_, subtype, _ := strings.Cut(media, "/")
	if err != nil || subtype != "json" && !strings.HasSuffix(subtype, "+json") {
		return nil, badRequest("Content type error")
	}
	data, err := io.ReadAll(r.Body)
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return nil, &httpError{http.StatusRequestEntityTooLarge,
			fmt.Sprintf("JSON payload has exceeded limit (%d bytes).", hostapi.MaxBody)}
	}
	if err != nil {
		return nil, badRequest("Error that occur during reading payload: %v", err)
	}
	return data, nil
}

// jsonDocument writes a value as JSON without white space, and with <, > and & as they are.
func jsonDocument(v any) (document, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return document{}, fmt.Errorf("writing reply: %w", err)
	}
	return document{"application/json", bytes.TrimSuffix(b.Bytes(), []byte("\n"))}, nil
}

// names writes keys the way clients know them. It is never null.
func names(keys []store.Key) []string {
	out := make([]string, len(keys))
	for i, k := range keys {
		out[i] = k.String()
	}
	return out
}
