// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package apiserver

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/drydock-os/drydock/api/brupop/conversion"
)

// provideCertificate writes what cert-manager or an administrator would: a pair and its authority.
func provideCertificate(t *testing.T, dir string, serial int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	pair := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}))
	write(t, filepath.Join(dir, "ca.crt"), pair)
	write(t, filepath.Join(dir, "tls.crt"), pair)
	write(t, filepath.Join(dir, "tls.key"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})))
}

func (f *fixture) definition() *unstructured.Unstructured {
	f.t.Helper()
	crd := &unstructured.Unstructured{}
	crd.SetGroupVersionKind(definitionKind)
	if err := f.client.Get(f.t.Context(), types.NamespacedName{Name: definitionName}, crd); err != nil {
		f.t.Fatal(err)
	}
	return crd
}

func (f *fixture) shadowOf(version, name string) *unstructured.Unstructured {
	o := &unstructured.Unstructured{}
	o.SetAPIVersion("brupop.bottlerocket.aws/" + version)
	o.SetKind("BottlerocketShadow")
	o.SetNamespace(f.ns)
	o.SetName(name)
	return o
}

// D1, D4, D11: the real Kubernetes API server asks for conversions, and nothing is lost on the way.
func TestD1TheKubernetesAPIServerConvertsThroughUs(t *testing.T) {
	f := newFixture(t)
	dir := t.TempDir()
	provideCertificate(t, dir, 1)
	r := f.serve(func(c *Config) { c.CertDir = dir })
	crd := f.definition()
	hook := fmt.Sprintf(`{"spec":{"conversion":{"strategy":"Webhook","webhook":{"conversionReviewVersions":["v1"],"clientConfig":{"url":"https://%s/crdconvert"}}}}}`, r.address)
	if err := f.client.Patch(t.Context(), crd, client.RawPatch(types.MergePatchType, []byte(hook))); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // the definition is that of all tests
		none := []byte(`{"spec":{"conversion":{"strategy":"None","webhook":null}}}`)
		if err := f.client.Patch(context.WithoutCancel(t.Context()), crd, client.RawPatch(types.MergePatchType, none)); err != nil {
			t.Error(err)
		}
	})
	f.serve(func(c *Config) { c.CertDir = dir }) // a replica that starts now writes the CA
	f.eventually("the CA is in the definition", func() bool {
		ca, _, _ := unstructured.NestedString(f.definition().Object, "spec", "conversion", "webhook", "clientConfig", "caBundle")
		return ca != ""
	})
	stored := f.shadowOf("v2", "brs-x")
	stored.SetLabels(map[string]string{"a": "b"})
	stored.SetAnnotations(map[string]string{"c": "d"})
	stored.Object["spec"] = map[string]any{"state": "StagedAndPerformedUpdate", "version": "1.21.0"}
	f.create(stored)
	stored.Object["status"] = map[string]any{
		"current_version": "1.20.0", "target_version": "1.21.0", "current_state": "ErrorReset", "crash_count": int64(3), "last_error": "e",
	}
	if err := f.client.Status().Update(t.Context(), stored); err != nil {
		t.Fatal(err)
	}
	old := f.shadowOf("v1", "brs-x")
	f.eventually("v1 is readable", func() bool { // the Kubernetes API server takes a moment to see the webhook
		err := f.client.Get(t.Context(), client.ObjectKeyFromObject(old), old)
		state, _, _ := unstructured.NestedString(old.Object, "spec", "state")
		return err == nil && state == "StagedUpdate"
	})
	if old.GetLabels()["a"] != "b" || old.GetAnnotations()["c"] != "d" || old.GetAnnotations()[conversion.V2Annotation] == "" {
		t.Errorf("metadata: %v %v", old.GetLabels(), old.GetAnnotations())
	}
	if err := unstructured.SetNestedField(old.Object, "RebootedIntoUpdate", "spec", "state"); err != nil {
		t.Fatal(err)
	}
	if err := f.client.Update(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	now := f.shadowOf("v2", "brs-x")
	if err := f.client.Get(t.Context(), client.ObjectKeyFromObject(now), now); err != nil {
		t.Fatal(err)
	}
	stored.Object["spec"] = map[string]any{"state": "RebootedIntoUpdate", "version": "1.21.0"}
	for _, part := range []string{"spec", "status"} {
		if diff := cmp.Diff(stored.Object[part], now.Object[part]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", part, diff)
		}
	}
	if diff := cmp.Diff(map[string]string{"c": "d"}, now.GetAnnotations()); diff != "" {
		t.Error(diff)
	}

	// D13: a renewed certificate is served at once, without a restart.
	provideCertificate(t, dir, 2)
	conn, err := (&tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}).DialContext(t.Context(), "tcp", r.address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if serial := conn.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber; serial.Int64() != 2 {
		t.Errorf("serial %v after the renewal", serial)
	}
}

// The endpoint needs no credentials and takes any junk.
func TestConversionOfJunk(t *testing.T) {
	f := newFixture(t)
	r := f.serve()
	jsonType := map[string]string{"Content-Type": "application/json"}
	good, err := json.Marshal(map[string]any{"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview", "request": map[string]any{"uid": "u", "desiredAPIVersion": "brupop.bottlerocket.aws/v1", "objects": []any{}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, body string
		header     map[string]string
		want       int
	}{
		{"no objects", string(good), jsonType, 200},
		{"no type", string(good), nil, 400},
		{"2 MiB of junk", strings.Repeat("[", 2<<20), jsonType, 400},
		{"5 MiB", strings.Repeat(" ", 5<<20), jsonType, 413},
		{"empty", "", jsonType, 400},
	} {
		if got := r.raw(t, "POST", pathConvert, []byte(tc.body), tc.header); got.code != tc.want {
			t.Errorf("%s: %d %.200s, want %d", tc.name, got.code, got.body, tc.want)
		}
	}
	if got := r.raw(t, "GET", pathReady, nil, nil); got.code != 200 || got.body != "pong" {
		t.Errorf("%s: %+v", pathReady, got)
	}
}
