// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package agentapi

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// StatusError is an answer of the apiserver other than success.
type StatusError struct {
	Method, Path string
	// Code is the HTTP status code.
	Code int
	// Body is the beginning of the answer's text.
	Body string
	// RetryAfter is the pause the server asked for; 0 when it asked for none.
	RetryAfter time.Duration
}

func (e *StatusError) Error() string {
	text := fmt.Sprintf("%s %s: apiserver answered %d %s", e.Method, e.Path, e.Code, http.StatusText(e.Code))
	if e.Body != "" {
		text += ": " + e.Body
	}
	return text
}

// Code returns the HTTP status code of a StatusError in err's chain, 0 when there is none.
func Code(err error) int {
	if se, ok := errors.AsType[*StatusError](err); ok {
		return se.Code
	}
	return 0
}

// maxRetryAfter is the longest pause that a server may ask for.
const maxRetryAfter = 2 * time.Minute

// RetryAfter returns the pause that the answer in err's chain asks for, within reason; 0 if it asks for none.
func RetryAfter(err error) time.Duration {
	if se, ok := errors.AsType[*StatusError](err); ok {
		return min(se.RetryAfter, maxRetryAfter)
	}
	return 0
}

// Refused reports whether the server understood the request and will refuse it each time: it is wrong, and neither
// the sender nor the moment.
func Refused(err error) bool {
	code := Code(err)
	return code/100 == 4 && code != http.StatusNotFound && !Temporary(err)
}

// Temporary reports whether the same request may succeed later. Connections that fail, overload, a server
// that goes away and a token or pod the server does not know yet are temporary; a request that the server
// understood and refused is not.
func Temporary(err error) bool {
	if err == nil {
		return false
	}
	se, ok := errors.AsType[*StatusError](err)
	if !ok {
		return true
	}
	switch se.Code {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusRequestTimeout, http.StatusTooManyRequests:
		return true
	case http.StatusGatewayTimeout: // the server used up its own deadline: see PathDrain
		return false
	}
	return se.Code >= 500
}

// connectionError says in its text which part of a request failed: name lookup, dial, TLS or the exchange.
type connectionError struct {
	method, path, host string
	cause              error
}

func (e *connectionError) Error() string {
	return fmt.Sprintf("%s %s at %s: %s: %v", e.method, e.path, e.host, phase(e.cause), e.cause)
}

func (e *connectionError) Unwrap() error { return e.cause }

// wrapTransport turns an error of http.Client.Do into one that names host and phase.
func wrapTransport(method, path, host string, err error) error {
	if ue, ok := errors.AsType[*url.Error](err); ok {
		err = ue.Err // the wrapper repeats method and URL
	}
	return &connectionError{method: method, path: path, host: host, cause: err}
}

// phase names the step that err broke.
func phase(err error) string {
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return "looking up the name"
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "verifying the server's certificate"
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "verifying the server's certificate"
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return "TLS handshake"
	}
	if _, ok := errors.AsType[tls.AlertError](err); ok {
		return "TLS handshake"
	}
	if oe, ok := errors.AsType[*net.OpError](err); ok && oe.Op == "dial" {
		return "connecting"
	}
	if strings.Contains(err.Error(), "TLS handshake timeout") {
		return "TLS handshake"
	}
	return "exchanging data"
}
