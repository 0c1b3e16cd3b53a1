// What should not leave in the clear: the rules that Slips is built with, in the language of YARA. Written for Slips, under its licence.
//
// A rule sees some of what one of our hosts sends to a remote one: `service` is what the flow speaks (as in conn.log, e.g. "http"),
// `port` the server's port, `from_client` whether ours is the client.
// meta:  what  = what leaves, for people: the beginning of a sentence
//        level = "info", "low", "medium" or "high": how bad one match is
//        kind  = "location": NETWORK_GPS_LOCATION_LEAKED; without it SENSITIVE_DATA_LEAKED
//        check = "luhn", "own_mac": strings whose name begins with $checked count where their digits have a right check digit, or are
//                the hardware address that sent them
//        least = how many different values of the $checked strings there must be (1)
// docs/detections.md (leak_detector) tells how to add rules of one's own.

rule gps_coordinates {
    meta:
        what = "a place on earth"
        kind = "location"
        level = "low"
    strings:
        $lat = /(^|["'&?;,{ \n])(lat|latitude)["']?\s?(=|:|%3A)\s?["']?-?[0-9]{1,2}\.[0-9]{2,16}/ nocase
        $lon = /(^|["'&?;,{ \n])(lon|lng|long|longitude)["']?\s?(=|:|%3A)\s?["']?-?[0-9]{1,3}\.[0-9]{2,16}/ nocase
        $both = /(^|["'&?;,{ \n])(ll|q|latlon|loc|location|locations|path)["']?\s?(=|:)\s?["'\[]?-?[0-9]{1,2}\.[0-9]{2,16}(,|%2C)\s?-?[0-9]{1,3}\.[0-9]{2,16}/ nocase
    condition:
        from_client and (($lat and $lon) or $both)
}

rule device_identity {
    meta:
        what = "the identity of a phone or its card (IMEI, ICCID)"
        level = "low"
        check = "luhn"
    strings:
        $checked_imei = /\bimei[0-9]?["']?\s?(=|:|%3A)\s?["']?[0-9]{15}\b/ nocase
        $checked_iccid = /\biccid["']?\s?(=|:|%3A)\s?["']?89[0-9]{17,18}\b/ nocase
    condition:
        from_client and any of them
}

rule subscriber_identity {
    meta:
        what = "the identity of a subscriber (IMSI)"
        level = "low"
    strings:
        $imsi = /\bimsi["']?\s?(=|:|%3A)\s?["']?[2-7][0-9]{13,14}\b/ nocase
    condition:
        from_client and $imsi
}

rule card_number {
    meta:
        what = "the number of a payment card"
        level = "medium"
        check = "luhn"
    strings:
        $checked_named = /(card|pan|ccn|cc_?num|cc_?number|card_?no|card_?num|card_?number)["']?\s?(=|:|%3A)\s?["']?[3-6][0-9]{3}[ +-]?[0-9]{4}[ +-]?[0-9]{4}[ +-]?[0-9]{1,7}\b/ nocase
        $checked_spaced = /\b[456][0-9]{3} [0-9]{4} [0-9]{4} [0-9]{4}\b/
        $checked_dashed = /\b[456][0-9]{3}-[0-9]{4}-[0-9]{4}-[0-9]{4}\b/
    condition:
        from_client and any of them
}

rule private_key {
    meta:
        what = "a private key"
        level = "high"
    strings:
        $pem = /-----BEGIN ((RSA|EC|DSA|OPENSSH|ENCRYPTED|PGP) )?PRIVATE KEY( BLOCK)?-----/
        $putty = /PuTTY-User-Key-File-[0-9]: /
    condition:
        any of them
}

rule access_key {
    meta:
        what = "a key to a service in the net"
        level = "medium"
    strings:
        $aws = /\b(AKIA|ASIA)[0-9A-Z]{16}\b/
        $github = /\bgh[pousr]_[A-Za-z0-9]{36}\b/
        $github_fine = /\bgithub_pat_[A-Za-z0-9_]{60,90}\b/
        $gitlab = /\bglpat-[A-Za-z0-9_-]{20}/
        $slack = /\bxox[abprs]-[0-9]{8,}-[A-Za-z0-9-]{16,}/
        $stripe = /\b[sr]k_live_[A-Za-z0-9]{20,}\b/
        $telegram = /\/bot[0-9]{8,10}:[A-Za-z0-9_-]{35}\//
    condition:
        from_client and any of them
}

rule bearer_token {
    meta:
        what = "a token that lets its bearer in"
        level = "low"
    strings:
        $header = /(^|\n)authorization:\s?(bearer|token)\s[A-Za-z0-9._~+\/-]{20,}/ nocase
    condition:
        from_client and $header
}

rule password_in_form {
    meta:
        what = "a password in an address or a form"
        level = "low"
    strings:
        $field = /(^|[?&"'\n])(pass|passw|passwd|password|passwort|passphrase|pwd|user_?pass|user_?password|login_?password)(=|["']\s?:\s?["'])[^&\s"'<>]{1,64}/ nocase
    condition:
        from_client and service contains "http" and $field
}

rule password_file {
    meta:
        what = "the file of a system's passwords"
        level = "high"
    strings:
        $shadow = /\broot:\$(1|2[aby]|5|6|7|y|gy)\$[.\/0-9A-Za-z$,=]{8,}/
        $passwd = "root:x:0:0:"
    condition:
        any of them
}

rule wireless_password {
    meta:
        what = "the password of a wireless network"
        level = "medium"
    strings:
        $psk = /\b(wpa_?passphrase|wpa_?psk|wifi_?pass(word)?|wlan_?pass(word)?)["']?\s?(=|:)\s?["']?[^&\s"']{8,63}/ nocase
        $supplicant = /network=\{\s{1,16}ssid=/
    condition:
        from_client and any of them
}

rule wireless_neighbours {
    meta:
        what = "wireless networks nearby, which tell where somebody is"
        kind = "location"
        level = "low"
    strings:
        $ssid = /\bssid["']?\s?(=|:|%3A)\s?["']?[^&\s"']{1,32}/ nocase
        $bssid = /\bbssid["']?\s?(=|:|%3A)\s?["']?[0-9a-f]{2}((:|-|%3A)[0-9a-f]{2}){5}/ nocase
    condition:
        from_client and $ssid and $bssid
}

rule hardware_address {
    meta:
        what = "its own hardware address"
        level = "low"
        check = "own_mac"
    strings:
        $checked = /\b(mac|mac_?addr(ess)?|hw_?addr|(wifi|wlan|eth|lan)_?mac|lladdr|device_?mac)["']?\s?(=|:|%3A)\s?["']?[0-9a-f]{2}((:|-|%3A)?[0-9a-f]{2}){5}/ nocase
    condition:
        from_client and $checked
}

rule address_book {
    meta:
        what = "a list of mail addresses"
        level = "low"
        check = "distinct"
        least = 20
    strings:
        $checked = /\b[a-z0-9._+-]{1,64}@[a-z0-9-]{1,63}\.[a-z0-9.-]{2,63}/ nocase
    condition:
        from_client and #checked >= 20 and not (service contains "smtp" or service contains "imap" or service contains "pop3"
            or service contains "irc" or service contains "xmpp" or service contains "sip" or service contains "ldap")
}
