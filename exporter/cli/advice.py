"""What to do about each reason of failure."""

from __future__ import annotations

from exporter.errors import Layer, Reason
from exporter.model import Failure, NodeSpec, SshEndpoint, TcpEndpoint


def advice(node: NodeSpec, failure: Failure, subject: str) -> str:
    """One or two sentences that a person can act on. ``subject``: a layer, or a collector."""
    if subject == "disk":
        return _about_disk(node, failure)
    endpoint = node.endpoint
    over_ssh = isinstance(endpoint, SshEndpoint)
    user = endpoint.user if isinstance(endpoint, SshEndpoint) and endpoint.user else "USER"
    match failure.reason:
        case Reason.DNS:
            return "Check the host's name in the endpoint, and the resolver of this machine."
        case Reason.REFUSED:
            what = "sshd" if over_ssh else "the daemon"
            return f"Nothing listens on that port: check the port, and that {what} runs."
        case Reason.UNREACHABLE:
            return "Check that the machine is on, and the routes and firewalls in between."
        case Reason.TIMEOUT if failure.layer is Layer.TRANSPORT:
            setting = "ssh.connect_timeout and collect.timeout" if over_ssh else "collect.timeout"
            return (
                "Packets get lost: check that the machine is on and no firewall drops them. On a "
                f"slow link raise {setting}."
            )
        case Reason.TIMEOUT:
            return (
                "The machine answers but the daemon hangs: look at its log and the machine's load "
                "and disk; restart it if it stays so."
            )
        case Reason.AUTH:
            return (
                f"Put our public key into ~{user}/.ssh/authorized_keys on the node, or name the "
                "right key in ssh.identity_files. An encrypted key needs ssh.passphrase_file or an "
                "agent (SSH_AUTH_SOCK)."
            )
        case Reason.HOST_KEY:
            return (
                "If the machine is new or was installed anew, and only then, replace its key: "
                f"ssh-keygen -R '{_known_host(endpoint)}', then log in once with ssh and compare "
                "the fingerprint."
            )
        case Reason.TLS:
            address = (
                f"{endpoint.host}:{endpoint.port}" if isinstance(endpoint, TcpEndpoint) else ""
            )
            return (
                "Check the validity and the names of the server's certificate (openssl s_client "
                f"-connect {address}), that tls.ca is its authority, and that tls.cert comes from "
                "the authority the server trusts."
            )
        case Reason.PERMISSION if isinstance(endpoint, TcpEndpoint):
            return "A plugin or proxy in front of the daemon refuses this client: allow it there."
        case Reason.PERMISSION:
            where = "on the node" if over_ssh else "here, and start the exporter anew"
            return (
                "Add the user to the group that owns the socket, mostly docker: "
                f"usermod -aG docker {user} {where}."
            )
        case Reason.FORWARDING:
            tool = "buildctl" if node.remote else "the docker CLI"
            return (
                "Allow it in the node's sshd_config: AllowStreamLocalForwarding yes (the default), "
                "and 'port-forwarding' after 'restrict' in authorized_keys; or install "
                f"{tool} there and use a key that may run commands."
            )
        case Reason.ENGINE:
            return (
                "See whether Docker runs on the node: systemctl status docker; "
                "journalctl -u docker."
            )
        case Reason.BUILDKIT if node.remote:
            return "See whether buildkitd runs on the node, and its log."
        case Reason.BUILDKIT:
            return (
                "See whether the builder runs: docker ps --all --filter name=buildx_buildkit_; "
                "docker buildx inspect --bootstrap NAME starts it."
            )
        case Reason.PROTOCOL:
            return (
                "Something else may answer at this address, or a proxy is in between; the text "
                "above is what it said."
            )


def _about_disk(node: NodeSpec, failure: Failure) -> str:
    if node.disk.node_exporter is not None:
        return "Fetch the URL in disk.node_exporter from this machine, as with curl, and see."
    if failure.reason is Reason.PERMISSION:
        return (
            "Let the user enter the directories above it, or set disk.path to a directory on the "
            "same filesystem that it may see."
        )
    return "Everything else about this node is watched without it."


def _known_host(endpoint: object) -> str:
    """The host as known_hosts names it."""
    if not isinstance(endpoint, SshEndpoint):
        return "HOST"
    if endpoint.port in (None, 22):
        return endpoint.host
    return f"[{endpoint.host}]:{endpoint.port}"
