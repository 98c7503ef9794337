# The machines that lab.yaml points to with `flake: .#NAME`. What all of them have stands in `common`.
{
  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs =
    { nixpkgs, ... }:
    let
      common =
        { pkgs, ... }:
        {
          services.openssh = {
            enable = true;
            settings.PasswordAuthentication = false;
          };
          services.tailscale.enable = true;
          services.prometheus.exporters.node = {
            enable = true;
            port = 9002;
            enabledCollectors = [ "systemd" ];
            extraFlags = [ "--collector.textfile.directory=/var/lib/node-exporter" ];
          };
          environment.systemPackages = [ pkgs.neovim pkgs.tmux ];
          system.stateVersion = "26.05";
        };
      machine =
        name: own:
        nixpkgs.lib.nixosSystem {
          modules = [
            common
            own
            ./hardware/${name}.nix
            {
              networking.hostName = name;
              nixpkgs.hostPlatform = "x86_64-linux";
            }
          ];
        };
    in
    {
      nixosConfigurations = builtins.mapAttrs machine {
        immich.services.immich = {
          enable = true;
          host = "0.0.0.0";
          port = 2283;
        };
        adguarder.services.adguardhome.enable = true;
        syncthing.services.syncthing = {
          enable = true;
          openDefaultPorts = true;
          guiAddress = "0.0.0.0:8384";
        };
        audiobookshelf.services.audiobookshelf.enable = true;
        jellyfin = {
          services.jellyfin = {
            enable = true;
            openFirewall = true;
          };
          fileSystems."/mnt/media" = {
            device = "192.168.68.153:/volume1/media";
            fsType = "nfs";
            options = [ "noauto" "x-systemd.automount" "x-systemd.idle-timeout=600" ];
          };
        };
        observer.services = {
          prometheus = {
            enable = true;
            port = 9001;
            alertmanager.port = 9093;
          };
          grafana = {
            enable = true;
            settings.server = {
              http_addr = "127.0.0.1";
              http_port = 3001;
            };
          };
        };
        offsite-vm.services.borgbackup.repos = { };
        laptop.services.fwupd.enable = true;
      };
    };
}
