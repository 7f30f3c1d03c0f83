"""What to do about each reason of failure."""

from __future__ import annotations

from exporter.errors import Layer, Reason
from exporter.model import Failure, NodeSpec, SshEndpoint, TcpEndpoint

_BY_REASON = {
    Reason.DNS: "Check the host's name in the endpoint, and the resolver of this machine.",
    Reason.UNREACHABLE: "Check that the machine is on, and the routes and firewalls in between.",
    Reason.ENGINE: "See whether Docker runs on the node: systemctl status docker; "
    "journalctl -u docker.",
    Reason.BUILDKIT: "See whether the builder runs: docker ps --all --filter "
    "name=buildx_buildkit_; docker buildx inspect --bootstrap NAME starts it.",
    Reason.PROTOCOL: "Something else may answer at this address, or a proxy is in between; the "
    "text above is what it said.",
    Reason.HOST_KEY: "If the machine was installed anew, and only then, replace its key: "
    "ssh-keygen -R HOST, then log in once with ssh and compare the fingerprint.",
    Reason.PERMISSION: "Add the user to the group that owns the socket: usermod -aG docker USER; "
    "the next connection has the right.",
    Reason.FORWARDING: "Allow it in the node's sshd_config: AllowStreamLocalForwarding yes (the "
    "default), and 'port-forwarding' after 'restrict' in authorized_keys; or install the docker "
    "CLI there and use a key that may run commands.",
}


def advice(node: NodeSpec, failure: Failure) -> str:
    """One or two sentences that a person can act on."""
    endpoint = node.endpoint
    match failure.reason:
        case Reason.REFUSED:
            what = "sshd" if isinstance(endpoint, SshEndpoint) else "the daemon"
            return f"Nothing listens on that port: check the port, and that {what} runs."
        case Reason.TIMEOUT if failure.layer is Layer.TRANSPORT:
            return (
                "Packets get lost: check that the machine is on and no firewall drops them. On a "
                "slow link raise ssh.connect_timeout and collect.timeout."
            )
        case Reason.TIMEOUT:
            return (
                "The machine answers but the daemon hangs: look at its log and the machine's load "
                "and disk; restart it if it stays so."
            )
        case Reason.PROTOCOL if "disk.node_exporter" in failure.detail:
            return "Without it everything but the disk of this node is watched."
        case Reason.AUTH:
            user = endpoint.user if isinstance(endpoint, SshEndpoint) and endpoint.user else "USER"
            return (
                f"Put our public key into ~{user}/.ssh/authorized_keys on the node, or name the "
                "right key in ssh.identity_files. An encrypted key needs ssh.passphrase_file or an "
                "agent (SSH_AUTH_SOCK)."
            )
        case Reason.TLS if isinstance(endpoint, TcpEndpoint):
            return (
                "Check the validity and the names of the server's certificate (openssl s_client "
                f"-connect {endpoint.host}:{endpoint.port}), that tls.ca is its authority, and "
                "that tls.cert comes from the authority the server trusts."
            )
        case _:
            return _BY_REASON.get(failure.reason, "See the text above.")
