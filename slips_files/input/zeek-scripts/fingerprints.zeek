# JA3, JA3S and JA4 in ssl.log: what a TLS client or server offers, whatever it says it is. After the methods as their authors publish them.

@load base/protocols/ssl

module SlipsFingerprints;

# What a client's hello holds, in its order.
type Hello: record {
	version: count &default=0;
	ciphers: vector of count &default=vector();
	extensions: vector of count &default=vector();
	curves: vector of count &default=vector();
	formats: vector of count &default=vector();
	versions: vector of count &default=vector();
	algorithms: vector of count &default=vector();
	protocol: string &default="";
	has_name: bool &default=F;
};

redef record SSL::Info += {
	ja3: string &optional &log;
	ja3s: string &optional &log;
	ja4: string &optional &log;
};

# Extensions come before there is a row of ssl.log.
redef record connection += {
	slips_hello: Hello &optional;
	slips_server_extensions: vector of count &optional;
};

# Values that browsers throw in so that servers get used to unknown ones (RFC 8701): 0x0a0a, 0x1a1a … 0xfafa.
function is_grease(n: count): bool
	{
	return n < 65536 && n % 256 == n / 256 && n % 16 == 10;
	}

function joined(numbers: vector of count): string
	{
	local text = "";
	local first = T;
	for ( i in numbers )
		{
		if ( is_grease(numbers[i]) )
			next;
		text += first ? fmt("%d", numbers[i]) : fmt("-%d", numbers[i]);
		first = F;
		}
	return text;
	}

function hexes(numbers: vector of count, sorted: bool): string
	{
	local words: vector of string = vector();
	for ( i in numbers )
		{
		if ( ! is_grease(numbers[i]) )
			words += fmt("%04x", numbers[i]);
		}
	if ( sorted )
		sort(words, strcmp);
	return join_string_vec(words, ",");
	}

function counted(numbers: vector of count): count
	{
	local n = 0;
	for ( i in numbers )
		{
		if ( ! is_grease(numbers[i]) )
			++n;
		}
	return n < 99 ? n : 99;
	}

function twelve(text: string): string
	{
	return text == "" ? "000000000000" : sub_bytes(sha256_hash(text), 1, 12);
	}

function version_name(h: Hello): string
	{
	local best = 0;
	for ( i in h$versions )
		{
		if ( ! is_grease(h$versions[i]) && h$versions[i] > best )
			best = h$versions[i];
		}
	if ( best == 0 )
		best = h$version;
	switch ( best )
		{
		case 0x0304: return "13";
		case 0x0303: return "12";
		case 0x0302: return "11";
		case 0x0301: return "10";
		case 0x0300: return "s3";
		case 0x0002: return "s2";
		case 0xfeff: return "d1";
		case 0xfefd: return "d2";
		case 0xfefc: return "d3";
		}
	return "00";
	}

function ja4_of(c: connection, h: Hello): string
	{
	local transport = "t";
	if ( get_port_transport_proto(c$id$resp_p) == udp )
		transport = "QUIC" in c$service || "quic" in c$service ? "q" : "d";
	local protocol = "00";
	if ( |h$protocol| == 1 )
		protocol = h$protocol + h$protocol;
	else if ( |h$protocol| > 1 )
		protocol = sub_bytes(h$protocol, 1, 1) + sub_bytes(h$protocol, |h$protocol|, 1);
	local hashed: vector of count = vector();
	for ( i in h$extensions )
		{
		# The name and the protocols stand in the first part.
		if ( h$extensions[i] != 0 && h$extensions[i] != 16 )
			hashed += h$extensions[i];
		}
	local second = hexes(hashed, T);
	local algorithms = hexes(h$algorithms, F);
	if ( second != "" && algorithms != "" )
		second += "_" + algorithms;
	return fmt("%s%s%s%02d%02d%s_%s_%s", transport, version_name(h), h$has_name ? "d" : "i", counted(h$ciphers),
	           counted(h$extensions), protocol, twelve(hexes(h$ciphers, T)), twelve(second));
	}

function hello_of(c: connection): Hello
	{
	if ( ! c?$slips_hello )
		c$slips_hello = Hello();
	return c$slips_hello;
	}

event ssl_extension(c: connection, is_client: bool, code: count, val: string) &priority=3
	{
	if ( is_client )
		{
		local h = hello_of(c);
		h$extensions += code;
		if ( code == 0 )
			h$has_name = T;
		return;
		}
	if ( ! c?$slips_server_extensions )
		c$slips_server_extensions = vector();
	c$slips_server_extensions += code;
	}

event ssl_extension_elliptic_curves(c: connection, is_client: bool, curves: index_vec) &priority=3
	{
	if ( is_client )
		hello_of(c)$curves = curves;
	}

event ssl_extension_ec_point_formats(c: connection, is_client: bool, point_formats: index_vec) &priority=3
	{
	if ( is_client )
		hello_of(c)$formats = point_formats;
	}

event ssl_extension_supported_versions(c: connection, is_client: bool, versions: index_vec) &priority=3
	{
	if ( is_client )
		hello_of(c)$versions = versions;
	}

event ssl_extension_signature_algorithm(c: connection, is_client: bool, signature_algorithms: signature_and_hashalgorithm_vec) &priority=3
	{
	if ( ! is_client )
		return;
	local h = hello_of(c);
	for ( i in signature_algorithms )
		h$algorithms += signature_algorithms[i]$HashAlgorithm * 256 + signature_algorithms[i]$SignatureAlgorithm;
	}

event ssl_extension_application_layer_protocol_negotiation(c: connection, is_client: bool, protocols: string_vec) &priority=3
	{
	if ( is_client && |protocols| > 0 )
		hello_of(c)$protocol = protocols[0];
	}

# It comes after the extensions of its message.
event ssl_client_hello(c: connection, version: count, record_version: count, possible_ts: time, client_random: string,
                       session_id: string, ciphers: index_vec, comp_methods: index_vec) &priority=1
	{
	if ( ! c?$ssl || c$ssl?$ja3 )
		return;
	local h = hello_of(c);
	h$version = version;
	h$ciphers = ciphers;
	c$ssl$ja3 = md5_hash(fmt("%d,%s,%s,%s,%s", version, joined(ciphers), joined(h$extensions), joined(h$curves),
	                         joined(h$formats)));
	c$ssl$ja4 = ja4_of(c, h);
	}

event ssl_server_hello(c: connection, version: count, record_version: count, possible_ts: time, server_random: string,
                       session_id: string, cipher: count, comp_method: count) &priority=1
	{
	if ( ! c?$ssl || c$ssl?$ja3s )
		return;
	local extensions = c?$slips_server_extensions ? joined(c$slips_server_extensions) : "";
	c$ssl$ja3s = md5_hash(fmt("%d,%d,%s", version, cipher, extensions));
	}
