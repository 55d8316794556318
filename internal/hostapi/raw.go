// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package hostapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// maxReply bounds what Do reads, in bytes. Configuration that people ask for by hand may be larger than MaxBody.
const maxReply = 16 << 20

// Do makes any request and returns status and body of the answer, whatever they are. The uri is a path, with or without
// a query, and is sent as it was given save for what would break the request line. ctx is the only bound.
func (c *Client) Do(ctx context.Context, method, uri string, body []byte) (code int, reply []byte, err error) {
	u, err := url.Parse("http://localhost/" + strings.TrimPrefix(escapeURI(uri), "/"))
	if err != nil {
		return 0, nil, fmt.Errorf("%q is not a path: %w", uri, err)
	}
	var content io.Reader = http.NoBody
	if len(body) > 0 {
		content = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), content)
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		if ue, ok := errors.AsType[*url.Error](err); ok {
			err = ue.Err
		}
		return 0, nil, err
	}
	defer resp.Body.Close()
	reply, err = io.ReadAll(io.LimitReader(resp.Body, maxReply+1))
	if err == nil && len(reply) > maxReply {
		err = fmt.Errorf("the reply is larger than %d bytes", maxReply)
	}
	return resp.StatusCode, reply, err
}

// escapeURI encodes blanks, control characters and what is not ASCII. Everything else, such as quotes, travels as it
// is: servers read both forms.
func escapeURI(uri string) string {
	var b strings.Builder
	for i := range len(uri) {
		if c := uri[i]; c <= ' ' || c >= 0x7f || c == '#' {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
