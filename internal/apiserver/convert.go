// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package apiserver

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/drydock-os/drydock/api/brupop/conversion"
	v2 "github.com/drydock-os/drydock/api/brupop/v2"
	"github.com/drydock-os/drydock/internal/agentapi"
)

// pathConvert takes ConversionReviews of the Kubernetes API server, which shows no credentials: what it gets back is
// nothing but its own question in other words.
const pathConvert = "/crdconvert"

// definitionName is the name of the CustomResourceDefinition.
var definitionName = "bottlerocketshadows." + v2.GroupVersion.Group

var definitionKind = schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"}

// definitionCheck is how often the definition is compared with our authorities, because others write it too.
const definitionCheck = 10 * time.Minute

// convert answers a ConversionReview. It needs no cache, so it works before anything else does.
func (s *Server) convert(w http.ResponseWriter, r *http.Request) {
	if mt, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || mt != "application/json" {
		s.fail(w, &httpError{http.StatusBadRequest, "content type is not application/json"})
		return
	}
	if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout)); err != nil {
		s.fail(w, err)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, conversion.MaxBody))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		s.fail(w, &httpError{http.StatusRequestEntityTooLarge, fmt.Sprintf("the body is larger than %d bytes", conversion.MaxBody)})
		return
	}
	if err != nil {
		s.fail(w, &httpError{http.StatusBadRequest, "reading body: " + err.Error()})
		return
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	answer, sum, err := conversion.Review(body)
	switch {
	case errors.Is(err, conversion.ErrMalformed):
		s.fail(w, &httpError{http.StatusBadRequest, err.Error()})
		return
	case err != nil:
		s.fail(w, err)
		return
	case sum.Failure != "":
		s.conversionLog.Warn("conversion refused", "to", sum.Desired, "objects", sum.Objects, "reason", sum.Failure)
	default:
		s.conversionLog.Debug("converted", "to", sum.Desired, "objects", sum.Objects)
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(answer)
}

// needsConversion reports whether err says that objects which are stored in v1 cannot be read, because nobody
// converts them. Then this server has to be reachable before it has read anything itself.
func needsConversion(err error) bool {
	return err != nil && strings.Contains(err.Error(), "conversion webhook for ")
}

// keepTrusted makes the Kubernetes API server trust the certificates that it sees at pathConvert, until ctx ends.
func (s *Server) keepTrusted(ctx context.Context) error {
	var pause agentapi.Backoff
	failing := false
	for {
		wait := definitionCheck
		changed, err := s.trustUs(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			wait = pause.Next()
			if !failing {
				s.log.Warn("writing the CA into the CustomResourceDefinition failed, trying again", "error", err)
			}
		case changed:
			s.log.Info("CA written into the CustomResourceDefinition")
		}
		if failing = err != nil; !failing {
			pause.Reset()
		}
		if agentapi.Wait(ctx, wait) != nil {
			return nil
		}
	}
}

// trustUs writes our authorities into the definition if it asks a webhook to convert and knows other ones.
func (s *Server) trustUs(ctx context.Context) (bool, error) {
	bundle := s.identity.Authorities()
	if bundle == nil {
		return false, nil // the provider of the certificates takes care of it
	}
	crd := &unstructured.Unstructured{}
	crd.SetGroupVersionKind(definitionKind)
	if err := s.cluster.client.Get(ctx, types.NamespacedName{Name: definitionName}, crd); err != nil {
		return false, fmt.Errorf("getting %s: %w", definitionName, err)
	}
	strategy, _, _ := unstructured.NestedString(crd.Object, "spec", "conversion", "strategy")
	present, _, _ := unstructured.NestedString(crd.Object, "spec", "conversion", "webhook", "clientConfig", "caBundle")
	known, err := base64.StdEncoding.DecodeString(present)
	if strategy != "Webhook" || err == nil && bytes.Equal(known, bundle) {
		return false, nil
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"resourceVersion": crd.GetResourceVersion()},
		"spec":     map[string]any{"conversion": map[string]any{"webhook": map[string]any{"clientConfig": map[string]any{"caBundle": bundle}}}},
	})
	if err != nil {
		return false, fmt.Errorf("encoding patch of %s: %w", definitionName, err)
	}
	err = s.cluster.client.Patch(ctx, crd, client.RawPatch(types.MergePatchType, patch))
	if apierrors.IsConflict(err) { // another replica was faster, or the next try will be
		return false, err
	}
	if err != nil {
		return false, fmt.Errorf("patching %s: %w", definitionName, err)
	}
	return true, nil
}
