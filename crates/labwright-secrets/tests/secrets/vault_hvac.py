"""Drives the fake Vault with hvac, the official client for Python: whatever surprises hvac is a fault of the fake."""

import sys

import hvac
from hvac.exceptions import Forbidden, InvalidPath, InvalidRequest, VaultDown


def refused(kind, act, *arguments, **named):
    try:
        act(*arguments, **named)
    except kind as error:
        return str(error)
    raise AssertionError(f"{act.__name__} was not refused with {kind.__name__}")


client = hvac.Client(url=sys.argv[1])

# The seal.
assert not client.sys.is_initialized()
assert client.sys.is_sealed()
made = client.sys.initialize(secret_shares=5, secret_threshold=3)
refused(InvalidRequest, client.sys.initialize, secret_shares=1, secret_threshold=1)
keys, client.token = made["keys"], made["root_token"]
refused(VaultDown, client.sys.list_mounted_secrets_engines)
assert client.sys.submit_unseal_key(keys[0])["progress"] == 1
assert client.sys.submit_unseal_key(reset=True)["progress"] == 0
refused(InvalidRequest, client.sys.submit_unseal_key, "not a key!")
assert client.sys.submit_unseal_keys(made["keys_base64"][1:4])["sealed"] is False
assert client.is_authenticated()
assert client.sys.read_seal_status()["t"] == 3
assert client.sys.read_health_status(method="GET")["sealed"] is False
assert client.sys.read_health_status(method="HEAD").status_code == 200

# Engines.
client.sys.enable_secrets_engine("kv", path="secret", options={"version": "2"})
client.sys.enable_secrets_engine("kv-v2", path="deep/er")
client.sys.enable_secrets_engine("transit")
refused(InvalidRequest, client.sys.enable_secrets_engine, "kv-v2", path="secret")
refused(InvalidRequest, client.sys.enable_secrets_engine, "nonsense", path="nonsense")
mounts = client.sys.list_mounted_secrets_engines()["data"]
assert mounts["secret/"]["options"]["version"] == "2" and mounts["transit/"]["type"] == "transit"

# Secrets.
kv = client.secrets.kv.v2
assert kv.create_or_update_secret("nas/admin", {"password": "one"}, cas=0)["data"]["version"] == 1
refused(InvalidRequest, kv.create_or_update_secret, "nas/admin", {"password": "two"}, cas=0)
kv.create_or_update_secret("nas/admin", {"password": "two"}, cas=1)
assert kv.patch("nas/admin", {"user": "ana"})["data"]["version"] == 3
read = kv.read_secret_version("nas/admin", raise_on_deleted_version=True)["data"]
assert read["data"] == {"password": "two", "user": "ana"} and read["metadata"]["version"] == 3
assert kv.read_secret_version("nas/admin", version=1, raise_on_deleted_version=True)["data"]["data"]["password"] == "one"
kv.update_metadata("nas/admin", max_versions=5, custom_metadata={"owner": "lab"})
assert kv.read_secret_metadata("nas/admin")["data"]["custom_metadata"] == {"owner": "lab"}
assert kv.list_secrets("")["data"]["keys"] == ["nas/"] and kv.list_secrets("nas")["data"]["keys"] == ["admin"]
kv.delete_latest_version_of_secret("nas/admin")
refused(InvalidPath, kv.read_secret_version, "nas/admin", raise_on_deleted_version=True)
assert kv.read_secret_version("nas/admin", raise_on_deleted_version=False)["data"]["data"] is None
kv.undelete_secret_versions("nas/admin", [3])
kv.delete_secret_versions("nas/admin", [1])
kv.destroy_secret_versions("nas/admin", [2])
versions = kv.read_secret_metadata("nas/admin")["data"]["versions"]
assert versions["1"]["deletion_time"] and versions["2"]["destroyed"] and not versions["3"]["deletion_time"]
refused(InvalidPath, kv.read_secret_version, "gone", raise_on_deleted_version=True)
kv.configure(max_versions=7, cas_required=False)
assert kv.read_configuration()["data"]["max_versions"] == 7
kv.create_or_update_secret("x", {"k": "v"}, mount_point="deep/er")
assert kv.read_secret_version("x", mount_point="deep/er", raise_on_deleted_version=True)["data"]["data"] == {"k": "v"}
kv.delete_metadata_and_all_versions("x", mount_point="deep/er")
refused(InvalidPath, kv.read_secret_metadata, "x", mount_point="deep/er")

# Policies and tokens.
policy = 'path "secret/data/nas/+" { capabilities = ["read"] }\npath "secret/metadata/*" { capabilities = ["list"] }'
client.sys.create_or_update_acl_policy("nas", policy)
client.sys.create_or_update_policy("old", policy)
assert client.sys.read_acl_policy("nas")["data"]["policy"] == policy
assert client.sys.read_policy("old")["data"]["rules"] == policy
assert {"default", "nas", "old", "root"} <= set(client.sys.list_acl_policies()["data"]["keys"])
assert "nas" in client.sys.list_policies()["data"]["policies"]
refused(InvalidRequest, client.sys.create_or_update_acl_policy, "broken", 'path "x" { capabilities = ["fly"] }')
client.sys.delete_acl_policy("old")
refused(InvalidPath, client.sys.read_acl_policy, "old")
token = client.auth.token.create(policies=["nas"], ttl="1h", renewable=True, no_parent=True)["auth"]
assert token["policies"] == ["default", "nas"] and token["orphan"]
limited = hvac.Client(url=sys.argv[1], token=token["client_token"])
assert limited.auth.token.lookup_self()["data"]["ttl"] <= 3600
assert limited.secrets.kv.v2.read_secret_version("nas/admin", raise_on_deleted_version=True)
assert limited.secrets.kv.v2.list_secrets("nas")
refused(Forbidden, limited.secrets.kv.v2.create_or_update_secret, "nas/admin", {"k": "v"})
refused(Forbidden, limited.secrets.kv.v2.read_secret_metadata, "nas/admin")
refused(Forbidden, limited.sys.list_mounted_secrets_engines)
refused(InvalidRequest, client.auth.token.create, type="batch")
assert limited.sys.get_capabilities(["secret/data/nas/x"])["data"]["secret/data/nas/x"] == ["read"]
assert limited.auth.token.renew_self()["auth"]["lease_duration"] == 3600
limited.auth.token.revoke_self()
refused(Forbidden, limited.auth.token.lookup_self)
assert client.auth.token.lookup(client.token)["data"]["policies"] == ["root"]

# Logins for machines.
client.sys.enable_auth_method("approle")
refused(InvalidRequest, client.sys.enable_auth_method, "approle")
assert client.sys.list_auth_methods()["data"]["approle/"]["type"] == "approle"
role = client.auth.approle
role.create_or_update_approle("web", token_policies=["nas"], token_ttl="10m", token_max_ttl="1h", secret_id_num_uses=2)
assert role.read_role("web")["data"]["token_policies"] == ["nas"]
assert role.list_roles()["data"]["keys"] == ["web"]
role_id = role.read_role_id("web")["data"]["role_id"]
secret_id = role.generate_secret_id("web", metadata={"host": "web"})["data"]["secret_id"]
machine = hvac.Client(url=sys.argv[1])
for _ in range(2):
    login = machine.auth.approle.login(role_id, secret_id)["auth"]
    assert login["lease_duration"] == 600 and login["metadata"]["role_name"] == "web"
assert machine.secrets.kv.v2.read_secret_version("nas/admin", raise_on_deleted_version=True)
refused(InvalidRequest, machine.auth.approle.login, role_id, secret_id)
refused(InvalidRequest, machine.auth.approle.login, "nobody", "nothing")

# Keys.
transit = client.secrets.transit
transit.create_key("autounseal")
assert transit.read_key("autounseal")["data"]["type"] == "aes256-gcm96"
assert transit.list_keys()["data"]["keys"] == ["autounseal"]
old = transit.encrypt_data("autounseal", plaintext="aGVsbG8=")["data"]["ciphertext"]
transit.rotate_key("autounseal")
new = transit.encrypt_data("autounseal", plaintext="aGVsbG8=")["data"]["ciphertext"]
assert old.startswith("vault:v1:") and new.startswith("vault:v2:")
for text in (old, new):
    assert transit.decrypt_data("autounseal", ciphertext=text)["data"]["plaintext"] == "aGVsbG8="
refused(InvalidRequest, transit.decrypt_data, "autounseal", ciphertext=new[:-8] + "AAAAAAA=")
refused(InvalidRequest, transit.decrypt_data, "gone", ciphertext=new)
refused(InvalidRequest, transit.encrypt_data, "autounseal", plaintext="not base64!")
refused(InvalidRequest, transit.delete_key, "autounseal")
transit.update_key_configuration("autounseal", deletion_allowed=True)
transit.delete_key("autounseal")
refused(InvalidPath, transit.read_key, "autounseal")

client.sys.seal()
refused(VaultDown, client.sys.list_mounted_secrets_engines)
