package main

import (
	"bufio"
	"net"
	"net/http"
	"testing"
)

func TestPorts(t *testing.T) {
	for text, want := range map[string]string{
		"80": "80", "80,443": "80,443", "8000-8002,9": "8000,8001,8002,9",
		"": "", "0": "", "5-4": "", "x": "", "65536": "", "1-": "",
	} {
		var p ports
		if err := p.Set(text); (err != nil) != (want == "") || err == nil && p.String() != want {
			t.Errorf("%q: %v, %v; want %q", text, p.String(), err, want)
		}
	}
}

func TestAnswers(t *testing.T) {
	s, err := listen("me", nil, nil, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	u, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	s.tcp, s.udp = append(s.tcp, l), append(s.udp, u)
	go s.serve()
	t.Cleanup(func() { s.close() })

	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r := bufio.NewReader(c)
	if line, err := r.ReadString('\n'); line != "me "+c.LocalAddr().String()+"\n" {
		t.Errorf("greeting %q, %v", line, err)
	}
	if _, err := c.Write([]byte("7\n")); err != nil {
		t.Fatal(err)
	}
	if line, err := r.ReadString('\n'); line != "7\n" {
		t.Errorf("echo %q, %v", line, err)
	}
	d, err := net.Dial("udp", u.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, err := d.Write([]byte("q")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 10)
	if n, err := d.Read(buf); string(buf[:n]) != "qme" {
		t.Errorf("answer %q, %v", buf[:n], err)
	}
}

func TestReadiness(t *testing.T) {
	s, err := listen("me", nil, nil, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go s.serve()
	t.Cleanup(func() { s.close() })
	answer, err := http.Get("http://" + s.ready.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Errorf("readiness %s", answer.Status)
	}
}
