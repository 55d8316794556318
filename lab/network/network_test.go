// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package network

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/drydock-os/drydock/lab/network/networktest"
)

func TestMain(m *testing.M) { os.Exit(networktest.Main(m)) }

// newNetwork makes a network; since a namespace has room for one, it is shared by a test's subtests and
// removed at its end.
func newNetwork(t *testing.T) *Network {
	t.Helper()
	networktest.Need(t)
	n, err := New(Config{
		PodCIDR:     netip.MustParsePrefix("10.244.0.0/16"),
		ServiceCIDR: netip.MustParsePrefix("10.96.0.0/16"),
		DNS:         netip.MustParseAddr("10.96.0.10"),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeLink(t, Bridge) })
	return n
}

func newPod(t *testing.T, n *Network) *Pod {
	t.Helper()
	p, err := n.NewPod()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// answerWith accepts connections inside a pod and says a word to each.
func answerWith(t *testing.T, p *Pod, port int, word string) {
	t.Helper()
	var l net.Listener
	err := p.Enter(func() (err error) {
		l, err = net.Listen("tcp4", fmt.Sprintf(":%d", port))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprintln(c, word)
			c.Close()
		}
	}()
}

// ask connects from inside a pod and returns the word that the other side says.
func ask(p *Pod, addr string) (word string, err error) {
	err = p.Enter(func() error {
		c, err := net.DialTimeout("tcp4", addr, 5*time.Second)
		if err != nil {
			return err
		}
		defer c.Close()
		if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
			return err
		}
		word, err = bufio.NewReader(c).ReadString('\n')
		return err
	})
	return word, err
}

func TestTwoPodsListenOnOnePort(t *testing.T) {
	n := newNetwork(t)
	a, b := newPod(t, n), newPod(t, n)
	if a.IP == b.IP {
		t.Fatalf("both pods have address %v", a.IP)
	}
	answerWith(t, a, 8080, "a")
	answerWith(t, b, 8080, "b")
	for _, c := range []struct {
		from *Pod
		to   *Pod
		want string
	}{{a, b, "b\n"}, {b, a, "a\n"}, {a, a, "a\n"}} {
		if got, err := ask(c.from, c.to.IP.String()+":8080"); got != c.want || err != nil {
			t.Errorf("asking %v from %v: %q, %v", c.to.IP, c.from.IP, got, err)
		}
	}
	t.Run("from the lab", func(t *testing.T) {
		c, err := net.DialTimeout("tcp4", b.IP.String()+":8080", 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if word, err := io.ReadAll(c); string(word) != "b\n" || err != nil {
			t.Errorf("got %q, %v", word, err)
		}
	})
	t.Run("node address from a pod", func(t *testing.T) {
		node := netip.MustParseAddr("192.168.77.1")
		if err := n.AddAddress(node); err != nil {
			t.Fatal(err)
		}
		if err := n.AddAddress(node); err != nil {
			t.Errorf("adding an address twice: %v", err)
		}
		l, err := net.Listen("tcp4", node.String()+":10250")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go func() {
			if c, err := l.Accept(); err == nil {
				fmt.Fprintln(c, "node")
				c.Close()
			}
		}()
		if word, err := ask(a, l.Addr().String()); word != "node\n" || err != nil {
			t.Errorf("got %q, %v", word, err)
		}
	})
	t.Run("closed", func(t *testing.T) {
		if err := errors.Join(b.Close(), b.Close()); err != nil {
			t.Errorf("closing twice: %v", err)
		}
		if err := b.Enter(func() error { return nil }); !errors.Is(err, net.ErrClosed) {
			t.Errorf("entering a closed pod: %v", err)
		}
		if c := newPod(t, n); c.IP == b.IP {
			t.Errorf("address %v was given again at once", c.IP)
		}
	})
}

func TestAddressesRunOut(t *testing.T) {
	n := &Network{cfg: Config{PodCIDR: netip.MustParsePrefix("10.0.0.0/29")}, gateway: netip.MustParseAddr("10.0.0.1"), taken: map[netip.Addr]bool{}}
	n.last = n.gateway
	var got []netip.Addr
	for {
		a, err := n.ReserveIP()
		if errors.Is(err, ErrNoAddress) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, a)
	}
	if len(got) != 5 || got[0].String() != "10.0.0.2" || got[4].String() != "10.0.0.6" { // without network, gateway, broadcast
		t.Errorf("got %v", got)
	}
	n.ReleaseIP(got[2])
	if a, err := n.ReserveIP(); a != got[2] || err != nil {
		t.Errorf("after a release: %v, %v", a, err)
	}
}

func TestBadRangesAreRefused(t *testing.T) {
	for _, c := range []struct{ pods, services, dns string }{
		{"10.0.0.0/30", "10.96.0.0/16", "10.96.0.10"},
		{"10.0.0.0/8", "10.96.0.0/16", "10.96.0.10"},
		{"fd00::/64", "10.96.0.0/16", "10.96.0.10"},
		{"10.244.0.0/16", "10.96.0.0/16", "10.97.0.10"},
	} {
		_, err := New(Config{PodCIDR: netip.MustParsePrefix(c.pods), ServiceCIDR: netip.MustParsePrefix(c.services), DNS: netip.MustParseAddr(c.dns)})
		if err == nil {
			t.Errorf("%v was accepted", c)
		}
	}
}

func service(name, ip string, port int32) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name},
		Spec:       corev1.ServiceSpec{ClusterIP: ip, Ports: []corev1.ServicePort{{Name: "web", Port: port, Protocol: corev1.ProtocolTCP}}},
	}
}

func slice(service string, port int32, ready map[string]bool) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: "shop", Name: service + "-1", Labels: map[string]string{discoveryv1.LabelServiceName: service}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: new("web"), Port: &port}},
	}
	for a, r := range ready {
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{a}, Conditions: discoveryv1.EndpointConditions{Ready: &r}})
	}
	return s
}

// run serves the network until the end of the test.
func run(t *testing.T, n *Network, client *fake.Clientset) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx, client) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// eventually tries until f succeeds.
func eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if err = f(); err == nil {
			return
		}
	}
	t.Fatalf("%s: %v", what, err)
}

func TestServices(t *testing.T) {
	n := newNetwork(t)
	client, one, two := newPod(t, n), newPod(t, n), newPod(t, n)
	unready := newPod(t, n)
	answerWith(t, one, 8080, "one")
	answerWith(t, two, 8080, "two")
	answerWith(t, unready, 8080, "unready")
	gone := "10.244.200.200" // an endpoint that has not been taken out yet
	api := fake.NewClientset(
		service("front", "10.96.0.50", 80),
		slice("front", 8080, map[string]bool{one.IP.String(): true, two.IP.String(): true, unready.IP.String(): false, gone: true}),
	)
	run(t, n, api)

	eventually(t, "reaching a service", func() error {
		_, err := ask(client, "10.96.0.50:80")
		return err
	})
	t.Run("round robin over the ready ones that answer", func(t *testing.T) {
		seen := map[string]int{}
		begun := time.Now()
		for range 12 {
			word, err := ask(client, "10.96.0.50:80")
			if err != nil {
				t.Fatal(err)
			}
			seen[word]++
		}
		if seen["one\n"] < 4 || seen["two\n"] < 4 || len(seen) != 2 {
			t.Errorf("got %v", seen)
		}
		if d := time.Since(begun); d > 2*time.Second {
			t.Errorf("12 connections took %v: an address without a pod costs time", d)
		}
	})
	t.Run("a service that comes later, by name", func(t *testing.T) {
		if _, err := api.DiscoveryV1().EndpointSlices("shop").Create(t.Context(), slice("back", 8080, map[string]bool{two.IP.String(): true}), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, err := api.CoreV1().Services("shop").Create(t.Context(), service("back", "10.96.0.51", 443), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		resolver := podResolver(client)
		eventually(t, "reaching the service", func() error {
			addrs, err := resolver.LookupHost(t.Context(), "back.shop.svc.cluster.local")
			if err != nil {
				return err
			}
			if !slices.Equal(addrs, []string{"10.96.0.51"}) {
				return fmt.Errorf("addresses %v", addrs)
			}
			word, err := ask(client, addrs[0]+":443")
			if err == nil && word != "two\n" {
				err = fmt.Errorf("answer %q", word)
			}
			return err
		})
		if err := api.CoreV1().Services("shop").Delete(t.Context(), "back", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "service is gone", func() error {
			if _, err := ask(client, "10.96.0.51:443"); err == nil {
				return errors.New("still answers")
			}
			return nil
		})
	})
	t.Run("no ready endpoint", func(t *testing.T) {
		if err := api.DiscoveryV1().EndpointSlices("shop").Delete(t.Context(), "front-1", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "refusal", func() error {
			if word, err := ask(client, "10.96.0.50:80"); err == nil {
				return fmt.Errorf("answer %q", word)
			}
			return nil
		})
	})
}

// podResolver resolves names from inside a pod.
func podResolver(p *Pod) *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(_ context.Context, network, _ string) (c net.Conn, err error) {
		err = p.Enter(func() error {
			c, err = net.Dial(network, "10.96.0.10:53")
			return err
		})
		return c, err
	}}
}
