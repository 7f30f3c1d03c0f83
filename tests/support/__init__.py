"""What tests of several rooms share: peers on loopback sockets, and streams without any."""
