"""Document 3's OAuth2 sample, unchanged but for addresses and ids; between its two halves a person with a browser (`requests`)."""
import html.parser
import sys
import urllib.parse

BASE, CLIENT_ID, CLIENT_SECRET, USER, PASSWORD = sys.argv[1:]

import requests
from requests_oauthlib import OAuth2Session

# OAuth2 flow
oauth = OAuth2Session(client_id=CLIENT_ID)
authorization_url, state = oauth.authorization_url(
    f'{BASE}/auth/authorize'
)


class Form(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.fields, self.action = {}, None

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == 'form':
            self.action = attributes['action']
        if tag == 'input' and 'value' in attributes:
            self.fields[attributes['name']] = attributes['value']


browser = requests.Session()
page = browser.get(authorization_url)
assert page.status_code == 200, page.text
form = Form()
form.feed(page.text)
answer = {**form.fields, 'username': USER, 'password': PASSWORD, 'decision': 'allow'}
back = browser.post(urllib.parse.urljoin(page.url, form.action), data=answer, allow_redirects=False)
assert back.status_code == 303, (back.status_code, back.text)
authorization_response = back.headers['Location']

# After user authorization
token = oauth.fetch_token(
    f'{BASE}/auth/token',
    authorization_response=authorization_response,
    client_secret=CLIENT_SECRET
)

# Use OAuth2 token
headers = {'Authorization': f'Bearer {token["access_token"]}'}
response = requests.get(f'{BASE}/migrations/', headers=headers)
assert response.status_code == 200 and response.json() == [], response.text

# What the library does next: the refresh token, once.
renewed = oauth.refresh_token(f'{BASE}/auth/token', auth=(CLIENT_ID, CLIENT_SECRET))
assert renewed['refresh_token'] != token['refresh_token']
assert oauth.get(f'{BASE}/auth/me').json()['name'] == USER
print('document 3 works')
