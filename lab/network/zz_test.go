package network
import ("testing";"time";"context";"net";"k8s.io/client-go/kubernetes/fake";"fmt")
func TestZZ(t *testing.T){
 n:=newNetwork(t); p:=newPod(t,n)
 run(t,n,fake.NewClientset(service("front","10.96.0.50",80)))
 time.Sleep(2*time.Second)
 r:=&net.Resolver{PreferGo: true, Dial: func(_ context.Context, network, a string) (c net.Conn, err error) {
    b:=time.Now()
		err = p.Enter(func() error {
			c, err = net.Dial(network, "10.96.0.10:53")
			return err
		})
		fmt.Println("dial",network,a,c.LocalAddr(),err,time.Since(b))
		return c, err
	}}
 for i:=0;i<20;i++{
  b:=time.Now()
  a,err:=r.LookupHost(t.Context(),"back.shop.svc.cluster.local")
  fmt.Println(i,time.Since(b),a,err)
  if time.Since(b)>time.Second {break}
 }
}
