# What Slips needs of Zeek beyond its defaults. `slips run --sensor zeek` names this directory on Zeek's command line; so can whoever starts Zeek
# himself, for `slips run --zeek-dir`. A script of your own goes beside these and into the list below.

@load protocols/conn/mac-logging
@load protocols/conn/vlan-logging
@load protocols/ftp/software
@load protocols/http/software
@load protocols/smtp/software
@load protocols/ssh/software
@load frameworks/files/hash-all-files

@load ./settings
@load ./arp
@load ./fingerprints
@load ./sha256
@load ./only-used
