# Sourced: what a root made here needs of this machine to reach its mirrors and package registries. None of it is ever
# written into the checkout.

# This machine's own apt sources, as lines of a sources.list.
mirrors() {
	apt-get indextargets --format 'deb $(REPO_URI) $(RELEASE) $(COMPONENT)' 'Identifier: Packages' 'Origin: Debian' |
		sort -u
}

# Names of the settings for pip, apt and TLS that this machine works with; a folder of wheels means nothing there.
settings() {
	env | grep -v '^PIP_FIND_LINKS=' | sed -n -E 's/^((PIP_|pip_)[A-Z_]*|[a-zA-Z_]*_(proxy|PROXY)|SSL_CERT_FILE|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|CI)=.*/\1/p'
}

# hand_over ROOT
hand_over() {
	cp -L /etc/resolv.conf /etc/hosts "$1/etc/"
	apt-config dump | grep -E '^Acquire::' >"$1/etc/apt/apt.conf.d/90machine" || :
	for name in $(settings); do
		file=$(printenv "$name")
		if [ -f "$file" ]; then
			mkdir -p "$1$(dirname "$file")"
			cp -L "$file" "$1$file"
		fi
	done
	if [ -f /etc/pip.conf ]; then cp /etc/pip.conf "$1/etc/"; fi
}
