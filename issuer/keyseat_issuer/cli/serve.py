"""`keyseat-issuer serve`: checks that everything is there, then runs the activation service and the web pages."""

import click

from keyseat_issuer.cli.output import Output, pass_output
from keyseat_issuer.cli.passphrase import passphrase_option, read_passphrase, warn_of_exposed_files
from keyseat_issuer.home import issuer_home


@click.command()
@click.option("--bind", default="127.0.0.1:8000", show_default=True, metavar="HOST:PORT", help="Where to listen.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 64), help="Processes to run.")
@click.option(
    "--drain",
    default=5,
    show_default=True,
    type=click.IntRange(0, 3600),
    metavar="SECONDS",
    help="How long to go on after SIGTERM, telling at /readyz that it is about to stop.",
)
@click.option(
    "--log-level",
    default="info",
    show_default=True,
    type=click.Choice(["debug", "info", "warning", "error"]),
    help="How much to log, as JSON lines on stderr.",
)
@click.option(
    "--with-license-key",
    is_flag=True,
    help="Unlock the licence keys as well: owners and admins then convert seats to offline licences themselves.",
)
@click.option("--allow-example-keys", is_flag=True, help="Serve with keys.example: for trying things out only.")
@passphrase_option
@pass_output
def serve(
    output: Output,
    bind: str,
    workers: int,
    log_level: str,
    passphrase_file: str | None,
    *,
    drain: int,
    with_license_key: bool,
    allow_example_keys: bool,
) -> None:
    """Run the activation service and its pages until stopped.

    It needs the lease key, not the licence keys: an attacker on a server that holds those can make licences.

    Behind a proxy that ends TLS, set KEYSEAT_TRUSTED_PROXIES to the number of proxies and KEYSEAT_PUBLIC_URL to the
    address that people use. KEYSEAT_RATE_LIMIT changes how often one token may call (default 6000/minute),
    KEYSEAT_CONNECTIONS and KEYSEAT_CONNECTIONS_PER_ADDRESS how many connections each process keeps open.
    """
    from keyseat_issuer.server import server
    from keyseat_issuer.server.limits import limits_from_environment
    from keyseat_issuer.server.start import prepare

    limits = limits_from_environment()
    warn_of_exposed_files(output, issuer_home())
    make_app = prepare(
        lambda: read_passphrase(output, passphrase_file),
        allow_example_keys=allow_example_keys,
        with_license_key=with_license_key,
    )
    sock = server.bind(bind)
    output.stopped_note = "The service has stopped."
    output.say(f"Serving on {server.url_of(sock)} (Ctrl-C stops)")
    _warn_of_missing_mail(output)

    from keyseat_issuer.api.logs import configure_logging

    configure_logging(log_level)
    raise SystemExit(server.serve(sock, make_app, workers=workers, limits=limits, drain=drain))


def _warn_of_missing_mail(output: Output) -> None:
    from keyseat_issuer.web.mail import URL_VARIABLE, sends_for_real

    if not sends_for_real():
        output.warn(
            f"no mail is sent: {URL_VARIABLE} is not set. Who invites sees the links and hands them over; forgotten"
            " passwords need `keyseat-issuer account reset-password EMAIL`."
        )
