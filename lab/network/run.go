// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package network

import (
	"context"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// byService is the index of EndpointSlices by the "namespace/name" of their service.
const byService = "service"

// Run serves cluster DNS and the service addresses until ctx ends, which is no error, and returns after its
// last connection is closed. What it knows of services it learns by watching with client.
func (n *Network) Run(ctx context.Context, client kubernetes.Interface) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	// Bound before anything is known: early queries wait in the socket instead of being lost. The kernel would
	// refuse only the first few and drop the rest, and a resolver waits seconds for those.
	dns, err := n.listenDNS(ctx)
	if err != nil {
		return err
	}
	defer dns.close()

	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTransform(dropManagedFields))
	services := factory.Core().V1().Services().Informer()
	slices := factory.Discovery().V1().EndpointSlices().Informer()
	if err := slices.AddIndexers(cache.Indexers{byService: sliceService}); err != nil {
		return fmt.Errorf("indexing endpoint slices: %w", err)
	}
	d := directory{services: services.GetStore(), slices: slices.GetIndexer()}

	changed := make(chan struct{}, 1)
	notify := func(any) {
		select {
		case changed <- struct{}{}:
		default: // the reader will see this change together with the pending one
		}
	}
	if _, err := services.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: notify, UpdateFunc: func(_, o any) { notify(o) }, DeleteFunc: notify,
	}); err != nil {
		return fmt.Errorf("watching services: %w", err)
	}

	factory.StartWithContext(ctx)
	defer factory.Shutdown()
	defer cancel() // before Shutdown, which waits
	if !cache.WaitForCacheSync(ctx.Done(), services.HasSynced, slices.HasSynced) {
		return nil
	}

	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { dns.serveUDP(ctx, d) })
	wg.Go(func() { dns.serveTCP(ctx, d) })
	wg.Go(func() { newProxy(n, d).run(ctx, changed) })
	n.log.Info("cluster network ready", "pods", n.cfg.PodCIDR, "services", n.cfg.ServiceCIDR, "dns", n.cfg.DNS)
	<-ctx.Done()
	return nil
}

func sliceService(o any) ([]string, error) {
	s, ok := o.(*discoveryv1.EndpointSlice)
	if !ok || s.Labels[discoveryv1.LabelServiceName] == "" {
		return nil, nil
	}
	return []string{s.Namespace + "/" + s.Labels[discoveryv1.LabelServiceName]}, nil
}

// dropManagedFields keeps the informers' caches small.
func dropManagedFields(o any) (any, error) {
	if m, err := meta.Accessor(o); err == nil {
		m.SetManagedFields(nil)
	}
	return o, nil
}

// directory answers questions about services from the informers' caches.
type directory struct {
	services cache.Store
	slices   cache.Indexer
}

func (d directory) service(namespace, name string) (*corev1.Service, bool) {
	o, ok, err := d.services.GetByKey(namespace + "/" + name)
	if err != nil || !ok {
		return nil, false
	}
	s, ok := o.(*corev1.Service)
	return s, ok
}

// endpointSlices returns the IPv4 slices of a service.
func (d directory) endpointSlices(namespace, name string) []*discoveryv1.EndpointSlice {
	objects, err := d.slices.ByIndex(byService, namespace+"/"+name)
	if err != nil {
		return nil // the index exists: Run added it
	}
	var found []*discoveryv1.EndpointSlice
	for _, o := range objects {
		if s, ok := o.(*discoveryv1.EndpointSlice); ok && s.AddressType == discoveryv1.AddressTypeIPv4 {
			found = append(found, s)
		}
	}
	return found
}

// ready follows the API: a missing condition counts as ready.
func ready(e discoveryv1.Endpoint) bool { return e.Conditions.Ready == nil || *e.Conditions.Ready }
