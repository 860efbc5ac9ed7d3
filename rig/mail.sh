#!/bin/bash
# mail.sh start|stop   an SMTP sink (aiosmtpd): on $SMTP_PORT login rig/$SMTP_PASS over STARTTLS, on $SMTP_PORT+1 neither. Every letter becomes a file $RUN/mail/*.eml
. "$(dirname "$0")/lib.sh"
SMTP_PORT=${SMTP_PORT:-12525}; SMTP_PASS=${SMTP_PASS:-rigpw}; D=$RUN/mail
case ${1:-start} in
 start) [ -d "$VENV"/lib/python3*/site-packages/aiosmtpd ] || pip_get aiosmtpd==1.4.6; mkdir -p "$D"
  # An end of a chain of its own: rustls takes no authority's certificate for a server's.
  [ -s "$D/c.pem" ] || openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=localhost -addext basicConstraints=critical,CA:FALSE \
    -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout "$D/k.pem" -out "$D/c.pem" 2>/dev/null
  cat >"$D/sink.py" <<'P'
import sys, ssl, time, itertools, os, threading
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

port, password, directory = int(sys.argv[1]), sys.argv[2].encode(), sys.argv[3]
number = itertools.count()

class Sink:
    async def handle_DATA(self, server, session, envelope):
        name = f'{directory}/{time.time():.6f}-{next(number)}'
        with open(name + '.tmp', 'wb') as letter:
            letter.write(('X-From: %s\r\nX-To: %s\r\n' % (envelope.mail_from, ','.join(envelope.rcpt_tos))).encode() + envelope.original_content)
        os.rename(name + '.tmp', name + '.eml')
        return '250 OK'

def login(server, session, envelope, mechanism, data):
    good = isinstance(data, LoginPassword) and data.login == b'rig' and data.password == password
    return AuthResult(success=good, handled=False)

tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
tls.load_cert_chain(directory + '/c.pem', directory + '/k.pem')
Controller(Sink(), hostname='127.0.0.1', port=port, tls_context=tls, require_starttls=True, authenticator=login, auth_required=True).start()
Controller(Sink(), hostname='127.0.0.1', port=port + 1).start()
threading.Event().wait()
P
  spawn smtp "$VENV/bin/python" "$D/sink.py" "$SMTP_PORT" "$SMTP_PASS" "$D"; wait_tcp $((SMTP_PORT+1));;
 stop) stop smtp;;
esac
