"""A person whose browser (`requests`) logs in through the OpenID provider's own pages; prints what the product answers at the end."""
import html.parser
import sys
import urllib.parse

import requests

BASE, USER = sys.argv[1:]


class Form(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.fields, self.action = {}, None

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == 'form' and self.action is None:
            self.action = attributes['action']
        if tag == 'input' and 'name' in attributes:
            self.fields[attributes['name']] = attributes.get('value', '')


browser = requests.Session()
page = browser.get(f'{BASE}/auth/oidc/login')
while page.url.startswith(BASE) is False:
    assert page.status_code == 200, (page.status_code, page.text)
    form = Form()
    form.feed(page.text)
    answer = {**form.fields}
    if 'login' in answer:
        answer.update(login=USER, password='anything')
    page = browser.post(urllib.parse.urljoin(page.url, form.action), data=answer)
print(page.status_code, page.text)
# The same way back again, and in another browser.
print(browser.get(page.url).status_code, requests.get(page.url).status_code)
